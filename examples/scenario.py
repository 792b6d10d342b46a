"""scenario.py EXAMPLE RUN COMMAND...: plays a scenario with an example.

RUN has the example's nginx.conf, the module, and the issuer's keys. COMMAND
and an address start an instance. What a client and an operator see of sessions
is checked: each line is "ok" or "not ok". Exit 0 if all hold.
"""

import asyncio
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

import grpc

HERE = pathlib.Path(__file__).resolve().parent
GATEWAY = "127.0.0.1:7000"
STATUS = "http://127.0.0.1:7080/status"
INSTANCES = ["127.0.0.1:700%d" % i for i in (1, 2, 3)]
TTL = 3
GRACE = 2

# The call counts the calls of its session: the first number of its answer. The
# stream says something at once and goes on until it is cancelled. "lost" is how
# the client learns that its instance is gone: by an error, by the metadata
# session-decision, or not at all.
EXAMPLES = {
    "python": {
        "service": "/repl.Repl/", "claim": "prompt", "metadata": "prompt-id",
        "call": ("Run", "n = globals().get('n', 0) + 1; n"),
        "stream": ("Watch", "while True: print(0); __import__('time').sleep(.1)"),
        "both": ("Shell", "6 * 7", "42"), "lost": "error",
        "client": lambda self, name: (
            [sys.executable, HERE / "python/client.py", name, "1"], {}),
    },
    "go": {
        "service": "/board.Board/", "claim": "board", "metadata": None,
        "call": ("Add", "hello"), "stream": ("Follow", ""),
        "both": ("Chat", "hello", ": hello"), "lost": "decision",
        "client": lambda self, name: (
            [*self.command, "post", GATEWAY, "hello"],
            {"TOKEN": token(self.example, self.run, name),
             "GRPC_GO_RETRY": "on"}),
    },
    "c": {
        "service": "/greeter.Greeter/", "claim": "visit", "metadata": "x-visit",
        "call": ("Greet", "Ann"), "stream": ("Follow", ""),
        "both": ("Chat", "Ann", "hello Ann, number"), "lost": None,
    },
}


def pack(text):
    data = text.encode()
    assert len(data) < 128
    return b"\x0a" + bytes([len(data)]) + data


def unpack(data):
    """Field 1, a string; shorter than 128 bytes in all that is asked here."""
    return data[2:2 + data[1]].decode() if data[:1] == b"\x0a" else ""


def mapping(metadata):
    return {key: value for key, value in metadata}


async def ended(stream):
    """The status of a stream, whatever comes before it."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError:
        pass
    return await stream.code()


def token(example, run, name):
    return subprocess.run(
        [HERE / "issuer", "token", run, "%s=%s" % (example["claim"], name)],
        check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Client:
    """A session and its token."""

    def __init__(self, example, run, name):
        self.example = example
        self.name = name
        self.metadata = [("authorization",
                          "Bearer " + token(example, run, name))]
        if example["metadata"]:
            self.metadata.append((example["metadata"], name))
        self.channel = grpc.aio.insecure_channel(
            GATEWAY, options=[("grpc.use_local_subchannel_pool", 1)])

    async def unary(self, method, text, metadata=None):
        call = self.channel.unary_unary(self.example["service"] + method)(
            pack(text), timeout=60,
            metadata=self.metadata if metadata is None else metadata)
        answer = unpack(await call)
        self.decision = mapping(await call.initial_metadata()).get(
            "session-decision")
        return answer

    async def count(self):
        answer = await self.unary(*self.example["call"])
        return int(re.search(r"\d+", answer).group())

    async def refused(self, metadata=None):
        """The error of a call, or None."""
        try:
            await self.unary(*self.example["call"], metadata)
        except grpc.aio.AioRpcError as error:
            return error
        return None

    def stream(self):
        method, text = self.example["stream"]
        return self.channel.unary_stream(self.example["service"] + method)(
            pack(text), metadata=self.metadata)

    async def leave(self):
        await self.unary("Leave", "")


class Scenario:
    def __init__(self, example, run, command):
        self.example = example
        self.run = run
        self.command = command
        self.processes = {}
        self.nginx = None
        self.channels = {}
        self.failed = 0

    def check(self, holds, what):
        print("ok -" if holds else "not ok -", what, flush=True)
        self.failed += not holds

    async def until(self, condition, what, seconds=60):
        """Checks that it comes true in time."""
        end = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > end:
                self.check(False, "%s within %d s" % (what, seconds))
                return
            await asyncio.sleep(0.02)
        self.check(True, what)

    # the stack

    def start(self, address):
        log = open(self.run / ("instance-%s.log" % address[-4:]), "a")
        self.processes[address] = subprocess.Popen(
            self.command + [address], stdout=log, stderr=log,
            env=dict(os.environ, GRACE=str(GRACE)))

    async def start_all(self):
        conf = (HERE / sys.argv[1] / "nginx.conf").read_text()
        conf = conf.replace("ttl=30m", "ttl=%ds grace=1s" % TTL)
        conf = conf.replace("interval=1s", "interval=200ms")
        (self.run / "nginx.conf").write_text(conf)
        for log in self.run.glob("*.log"):
            log.unlink()
        for address in INSTANCES:
            self.start(address)
        for address in INSTANCES:
            await self.until(lambda: self.serving(address),
                             "instance %s serves" % address[-4:], 20)
        self.nginx = subprocess.Popen(
            [os.environ.get("NGINX_BINARY", "/usr/sbin/nginx"),
             "-p", self.run, "-c", self.run / "nginx.conf",
             "-e", self.run / "error.log", "-g", "daemon off;"])
        await self.until(self.ready, "gateway serves", 10)

    def stop_all(self):
        if self.nginx:
            self.nginx.terminate()
        for process in self.processes.values():
            process.kill()
        for process in [self.nginx, *self.processes.values()]:
            if process:
                process.wait(60)
        log = self.run / "error.log"
        bad = [line for line in (log.read_text() if log.exists() else "").split("\n")
               if re.search(r"\[(alert|emerg|crit)\]", line)]
        self.check(not bad, "no alert in error.log" + "".join("\n# " + b for b in bad))

    async def ready(self):
        return all(i.get("health") == "serving" and i["state"] not in ("down", "left")
                   for i in self.status())

    def status(self):
        try:
            with urllib.request.urlopen(STATUS, timeout=60) as answer:
                upstreams = json.load(answer)["upstreams"]
        except OSError:
            return [{}]
        return next(iter(upstreams.values()))["instances"]

    def busy_answers(self):
        with urllib.request.urlopen(STATUS, timeout=2) as answer:
            upstreams = json.load(answer)["upstreams"]
        return next(iter(upstreams.values()))["decisions"]["BUSY"]

    async def health(self, address):
        """What an instance tells in its health answer; None if it is down."""
        if address not in self.channels:
            self.channels[address] = grpc.aio.insecure_channel(address, options=[
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 200)])
        call = self.channels[address].unary_unary(
            "/grpc.health.v1.Health/Check")(b"", timeout=10)
        try:
            await call
        except grpc.aio.AioRpcError:
            return None
        return mapping(await call.initial_metadata())

    async def serving(self, address):
        return await self.health(address) is not None

    async def owner(self, name):
        """The instance that serves a session."""
        for address in INSTANCES:
            told = await self.health(address)
            if told and told.get("session-id") == name:
                return address
        return None

    async def exited(self, address):
        return self.processes[address].poll() is not None

    # the steps

    async def sticky(self, a, b, c):
        counts = [await a.count() for _ in range(5)]
        self.check(counts == [1, 2, 3, 4, 5], "a: five calls, one state: %s" % counts)
        await b.count()
        await c.count()
        owners = {await self.owner(client.name) for client in (a, b, c)}
        self.check(owners == set(INSTANCES), "a, b, c: an instance each")
        self.check(await a.count() == 6, "a: its own state after those of others")

    async def refusals(self, a, b):
        error = await a.refused([])
        self.check(error and error.code() == grpc.StatusCode.UNAUTHENTICATED,
                   "no token: UNAUTHENTICATED")
        if self.example["metadata"]:
            error = await a.refused([a.metadata[0], b.metadata[1]])
            self.check(error and error.details() == "session-id mismatch",
                       "a's token for b: session-id mismatch")
        address = await self.owner("a")
        method, text = self.example["call"]
        call = self.channels[address].unary_unary(self.example["service"] + method)(
            pack(text), metadata=[("session-id", "stranger")], timeout=60)
        trailers = mapping(await call.trailing_metadata())
        self.check(await call.code() != grpc.StatusCode.OK
                   and not await call.details()
                   and trailers.get("session-owner") == "a",
                   "a stranger at a's instance: %s, session-owner %s" % (
                       (await call.code()).name, trailers.get("session-owner")))

    async def busy(self, c, d):
        error = await d.refused()
        self.check(error and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                   and error.details() == "all instances are busy",
                   "d, a fourth one: all instances are busy")
        waits = await self.waits("d")
        stream = c.stream()
        await stream.read()
        await c.leave()
        code = await ended(stream)
        self.check(code == grpc.StatusCode.ABORTED,
                   "c leaves: its stream ends with %s" % code.name)

        async def in_():
            return await d.refused() is None
        await self.until(in_, "d gets in")
        if waits:
            self.check(waits.wait(20) == 0, "and so does the client that waits")

    async def waits(self, name):
        """A client whose retry policy would try again after 10 ms waits as long
        as the gateway says, 0.75 s at least."""
        if "client" not in self.example:
            return None
        command, variables = self.example["client"](self, name)
        before = self.busy_answers()
        client = subprocess.Popen(
            command, env=dict(os.environ, **variables), stdout=subprocess.DEVNULL)

        async def refused():
            return self.busy_answers() > before
        await self.until(refused, "a client with a retry policy is refused")
        end = time.monotonic() + 0.5
        while time.monotonic() < end and self.busy_answers() == before + 1:
            await asyncio.sleep(0.02)
        self.check(time.monotonic() >= end and client.poll() is None,
                   "it waits as the gateway says")
        return client

    async def streams(self, a):
        before = await a.count()
        stream = a.stream()
        await stream.read()
        address = await self.owner("a")
        told = await self.health(address)
        self.check(told["session-calls"] == "1", "a: a stream is open")
        end = time.monotonic() + TTL + 1.5
        while time.monotonic() < end and await self.owner("a") == address:
            await asyncio.sleep(0.1)
        self.check(time.monotonic() >= end,
                   "a: the stream keeps the session for more than its ttl")
        stream.cancel()

        async def none():
            return (await self.health(address) or {}).get("session-calls") == "0"
        await self.until(none, "a: the stream is cancelled, no call is left")
        self.check(await a.count() == before + 1, "a: its state is there")

        method, text, want = self.example["both"]
        both = a.channel.stream_stream(self.example["service"] + method)(
            metadata=a.metadata)
        for i in range(3):
            await both.write(pack(text))
            got = unpack(await both.read())
            self.check(want in got, "a: stream of both, answer %d: %r" % (i + 1, got))
        await both.done_writing()
        self.check(await both.read() is grpc.aio.EOF and
                   await both.code() == grpc.StatusCode.OK, "a: it ends with OK")

    async def idle(self, clients):
        """All sessions end, ttl after their last calls."""
        await clients[0].count()
        begin = time.monotonic()

        async def forgotten():
            return await self.owner(clients[0].name) is None
        await self.until(forgotten, "%s: idle, forgotten" % clients[0].name)
        took = time.monotonic() - begin
        self.check(TTL * 3 / 4 < took < TTL * 10, "after ttl=%d s: %.1f s" % (TTL, took))

        async def free():
            return all(i["state"] == "free" for i in self.status())
        await self.until(free, "all instances are free")
        self.check(await clients[0].count() == 1, "a new session has a new state")

    async def lost(self, client, address):
        """The session is served elsewhere, and has lost its state."""
        how = self.example["lost"]
        calls = 0
        if how == "error":
            # the call that is in flight then, and the first one after it
            told = 0
            while error := await client.refused():
                told += error.details() == "session lost its instance"
                if error.code() != grpc.StatusCode.ABORTED or told > 2:
                    break
            self.check(error is None and 1 <= told <= 2,
                       "it is told: session lost its instance")
            calls = 1
        self.check(await client.count() == calls + 1, "it has a new state")
        if how == "decision":
            self.check(client.decision == "MOVED", "session-decision: MOVED")

        async def elsewhere():
            return await self.owner(client.name) not in (None, address)
        await self.until(elsewhere, "at another instance")

    async def transfer(self, a):
        await a.count()
        address = await self.owner("a")
        self.processes[address].kill()
        self.processes[address].wait(60)
        self.check(True, "a's instance is killed")
        await self.lost(a, address)
        self.start(address)
        await self.until(lambda: self.serving(address), "the instance is back")
        await self.until(self.ready, "for the gateway, too")

    async def drain(self, a, b):
        await a.count()
        count = await b.count()
        address = await self.owner("b")
        self.processes[address].terminate()

        async def told():
            return (await self.health(address) or {}).get("session-drain") == "1"
        await self.until(told, "SIGTERM to b's instance: it says session-drain")
        for _ in range(3):
            count += 1
            self.check(await b.count() == count, "b: is served on, call %d" % count)
        await b.leave()
        await self.until(lambda: self.exited(address), "b leaves: the instance exits")
        self.check(self.processes[address].returncode == 0, "with 0")
        self.start(address)
        await self.until(lambda: self.serving(address), "it is started again")
        await self.until(self.ready, "and ready")

    async def grace(self, client):
        """An instance leaves while its session is used."""
        await client.count()
        address = await self.owner(client.name)
        stream = client.stream()
        await stream.read()
        begin = time.monotonic()
        self.processes[address].terminate()
        code = await ended(stream)
        self.check(code == grpc.StatusCode.UNAVAILABLE,
                   "grace is over: the stream ends with %s" % code.name)
        took = time.monotonic() - begin
        self.check(GRACE * 3 / 4 < took < GRACE * 10, "after %.1f s" % took)
        await self.lost(client, address)
        await self.until(lambda: self.exited(address), "the instance exits")
        self.check(self.processes[address].returncode == 0, "with 0")


async def main(name, run, command):
    example = EXAMPLES[name]
    scenario = Scenario(example, pathlib.Path(run).resolve(), command)
    try:
        await scenario.start_all()
        a, b, c, d = (Client(example, run, x) for x in "abcd")
        await scenario.sticky(a, b, c)
        await scenario.refusals(a, b)
        await scenario.busy(c, d)
        await scenario.streams(a)
        await scenario.idle([d])
        await scenario.transfer(a)
        await scenario.drain(a, b)
        await scenario.grace(a)
    finally:
        scenario.stop_all()
    return scenario.failed


sys.exit(1 if asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])) else 0)
