"""repl.py HOST:PORT: a Python prompt that remembers what its session defined.

The code runs in a child process, which ends with the session. So a cancelled
call can interrupt it, and code that never ends blocks no health check. It is
not a sandbox: the child may do what this process may.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import sys

import grpc

import repl_pb2
import repl_pb2_grpc
from session import Sessions, current

CHILD = pathlib.Path(__file__).resolve().parent / "child.py"


class Prompt:                           # the child of a session
    def __init__(self):
        self.process = None
        self.lock = asyncio.Lock()
        self.running = False

    async def run(self, code):          # yields the output
        async with self.lock:
            if self.process is None:
                self.running = True     # until it is ready
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, CHILD, stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE, start_new_session=True)
            while self.running:         # what a cancelled call left behind
                await self.read()
            self.process.stdin.write(json.dumps(code).encode() + b"\n")
            self.running = True
            try:
                while (text := await self.read()) is not None:
                    yield text
            finally:
                if self.running and self.process.returncode is None:
                    self.process.send_signal(signal.SIGINT)

    async def read(self):
        line = await self.process.stdout.readline()
        text = json.loads(line) if line else None
        self.running = text is not None
        if not line:                    # it has ended; the next run is anew
            self.close()
            self.process = None
        return text

    def close(self):
        if self.process and self.process.returncode is None:
            self.process.kill()


class Repl(repl_pb2_grpc.ReplServicer):
    async def Run(self, request, context):
        output = ""
        async for text in prompt().run(request.text):
            output = (output + text)[:65536]
        return repl_pb2.Output(text=output)

    async def Watch(self, request, context):
        async with contextlib.aclosing(prompt().run(request.text)) as output:
            async for text in output:
                yield repl_pb2.Output(text=text)

    async def Shell(self, requests, context):
        async for request in requests:
            yield await self.Run(request, context)

    async def Leave(self, request, context):
        current().release()
        return repl_pb2.Output(text="bye")


def prompt(session=None):
    return (session or current()).data.setdefault("prompt", Prompt())


async def main(address):
    sessions = Sessions(ended=lambda session: prompt(session).close(),
                        grace=int(os.environ.get("GRACE", 30)))
    # two processes at one address would be one instance for the gateway
    server = grpc.aio.server(interceptors=[sessions],
                             options=[("grpc.so_reuseport", 0)])
    repl_pb2_grpc.add_ReplServicer_to_server(Repl(), server)
    server.add_insecure_port(address)
    await sessions.serve(server)


asyncio.run(main(sys.argv[1]))
