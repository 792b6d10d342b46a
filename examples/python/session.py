"""One session per process, for gRPC services in Python (grpc.aio).

Copy this file. It meets levels 1 to 3 of the contract between gateway and
instance (docs/backend.md), so that a service only asks whose session it
serves:

    sessions = Sessions(ended=lambda session: ...)
    server = grpc.aio.server(interceptors=[sessions])
    add_MyServicer_to_server(My(), server)
    server.add_insecure_port(address)
    await sessions.serve(server)        # until SIGTERM has drained it

    async def Method(self, request, context):
        session = current()             # .id .subject .moved .left() .data
        ...
        session.release()               # in the method that ends it

All methods must be coroutines or async generators. A call counts until its
coroutine has returned: if it works in a thread, it must wait for the thread,
also when it is cancelled.
"""

import asyncio
import contextvars
import inspect
import re
import secrets
import signal
import time

import grpc

YEAR = 365 * 86400 * 1000

_current = contextvars.ContextVar("session")


def current():
    """The session of the call that asks."""
    return _current.get()


class Session:
    def __init__(self, sid, subject, moved, ttl):
        self.id = sid
        self.subject = subject      # whose it is, as the gateway says
        self.moved = moved          # it may have state at another instance
        self.data = {}              # the service's; gone with the session
        self.released = False
        self._ttl = ttl             # seconds without a call
        self._ends = None           # at the latest, unless a call is running
        self._used = time.monotonic()
        self._calls = {}            # task: is it a stream?

    def left(self):
        """Seconds until it ends if no other call comes."""
        now = time.monotonic()
        end = (now if self._calls else self._used) + self._ttl
        if self._ends is not None:
            end = min(end, self._ends)
        return max(0.0, end - now)

    def release(self):
        """The session ends with this call; its other calls are cancelled."""
        self.released = True
        for task in self._calls:
            if task is not asyncio.current_task():
                task.cancel()


class Sessions(grpc.aio.ServerInterceptor):
    """Ask ended(session) to clean up: it runs when a session is over."""

    def __init__(self, ttl=1800, grace=30, ended=None):
        self._ttl = ttl             # where the gateway sends none
        self._grace = grace         # seconds for the session after SIGTERM
        self._ended = ended
        self._instance = secrets.token_hex(8)
        self._session = None
        self._epoch = 0             # the highest accepted, of any session
        self._free = asyncio.Event()
        self._drain = asyncio.Event()
        self._leaving = False
        self._timer = None
        self._free.set()

    async def serve(self, server):
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        server.add_generic_rpc_handlers((self._health(),))
        await server.start()
        await self._drain.wait()
        try:
            await asyncio.wait_for(self._free.wait(), self._grace)
        except asyncio.TimeoutError:
            pass
        self._leaving = True
        if self._session:
            for task, stream in list(self._session._calls.items()):
                if stream:
                    task.cancel()
        self._expire()
        # new calls are told that we leave, for a moment; those of one answer
        # may finish
        await asyncio.sleep(0.2)
        await server.stop(5)
        self._end()

    def _signalled(self, number):
        # the second one ends the process at once
        asyncio.get_running_loop().remove_signal_handler(number)
        self._drain.set()

    # a call

    async def intercept_service(self, continuation, details):
        handler = await continuation(details)
        if handler is None or details.method.startswith("/grpc."):
            return handler
        make = getattr(grpc, "%s_%s_rpc_method_handler" % (
            "stream" if handler.request_streaming else "unary",
            "stream" if handler.response_streaming else "unary"))
        method = (handler.unary_unary or handler.unary_stream or
                  handler.stream_unary or handler.stream_stream)
        stream = handler.request_streaming or handler.response_streaming

        async def call(request, context):
            session = await self._enter(context, stream)
            try:
                answer = method(request, context)
                if not inspect.isasyncgen(answer):
                    return await answer
                try:
                    async for message in answer:
                        await context.write(message)
                finally:
                    await answer.aclose()
            except asyncio.CancelledError:
                await self._cancelled(context, session)
                raise
            finally:
                self._leave(session)

        return make(call, request_deserializer=handler.request_deserializer,
                    response_serializer=handler.response_serializer)

    async def _enter(self, context, stream):
        metadata = context.invocation_metadata()
        sid = _only(metadata, "session-id")
        if not sid or not re.fullmatch("[!-~]{1,256}", sid):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT,
                                "one session-id of 1 to 256 bytes is required")
        self._expire()
        session = self._session
        if self._leaving or (session is None and self._drain.is_set()) or (
                session and session.released):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "",
                                (("session-leaving", "1"),))
        epoch = _epoch(metadata)
        if (session and session.id != sid) or (epoch and epoch < self._epoch):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "",
                                self._refusal())
        self._epoch = max(self._epoch, epoch)
        if session is None:
            session = self._session = Session(
                sid, _only(metadata, "session-subject"),
                _only(metadata, "session-start") == "moved", self._ttl)
            self._free.clear()
        ttl = _milliseconds(metadata, "session-ttl")
        if ttl:
            session._ttl = ttl / 1000
        ends = _milliseconds(metadata, "session-ends")
        if ends:
            session._ends = max(session._ends or 0,
                                time.monotonic() + ends / 1000)
        session._calls[asyncio.current_task()] = stream
        _current.set(session)
        return session

    def _refusal(self):
        """It serves another session, or the call is of an older lease."""
        said = (("session-epoch", str(self._epoch)),)
        if self._session:
            said += (("session-owner", self._session.id),)
        return said

    async def _cancelled(self, context, session):
        """By the client, or by us: then the client is told why."""
        if session.released:
            await context.abort(grpc.StatusCode.ABORTED, "session released")
        if self._leaving:
            # The call may have done something. Trailers alone would say that
            # it did not, and be repeated; after a header they are the end of
            # a stream.
            try:
                await context.send_initial_metadata(())
            except grpc.aio.UsageError:
                pass
            await context.abort(grpc.StatusCode.UNAVAILABLE, "",
                                (("session-leaving", "1"),))

    def _leave(self, session):
        del session._calls[asyncio.current_task()]
        session._used = time.monotonic()
        self._expire()

    # the end of a session

    def _expire(self):
        session = self._session
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if session is None or session._calls:
            return
        left = session.left()
        if session.released or self._leaving or left <= 0:
            self._end()
        else:
            self._timer = asyncio.get_running_loop().call_later(
                left, self._expire)

    def _end(self):
        session, self._session = self._session, None
        self._free.set()
        if session and self._ended:
            self._ended(session)

    # what the gateway asks

    def _health(self):
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(self._check)})

    async def _check(self, request, context):
        metadata = context.invocation_metadata()
        self._expire()
        session = self._session
        if session and not session._calls and (
                _only(metadata, "session-elsewhere") == session.id):
            self._end()
            session = None
        answer = [("instance-id", self._instance),
                  ("session-calls", str(len(session._calls) if session else 0)),
                  ("session-epoch", str(self._epoch))]
        if session:
            answer += [("session-id", session.id),
                       ("session-left", str(int(session.left() * 1000)))]
            if session.subject:
                answer.append(("session-subject", session.subject))
        if self._drain.is_set() and not self._leaving:
            answer.append(("session-drain", "1"))
        await context.send_initial_metadata(answer)
        # HealthCheckResponse: NOT_SERVING or SERVING, whatever name was asked
        return b"\x08\x02" if self._leaving else b"\x08\x01"


def _only(metadata, key):
    values = [value for name, value in metadata if name == key]
    return values[0] if len(values) == 1 else None


def _epoch(metadata):
    value = _only(metadata, "session-epoch")
    if not value or not value.isdecimal() or len(value) > 16:
        return 0
    return int(value)


def _milliseconds(metadata, key):
    value = _only(metadata, key)
    if not value or not value.isdecimal() or len(value) > 12:
        return None
    return min(int(value), YEAR)
