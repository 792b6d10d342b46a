"""The gateway as a Python client sees it (Debian's python3-grpcio).

usage: client.py DIRECTORY-OF-GENERATED-CODE
GATEWAY_ADDR is the gateway of three fresh instances; STACK, if set, the script
that can kill an instance, and then there are four. The steps are the same as
in client.js and client.go. Prints TAP.
"""

import concurrent.futures
import os
import subprocess
import sys
import time

import grpc

sys.path.insert(0, sys.argv[1])
import my_service_pb2 as pb  # noqa: E402

GATEWAY = os.environ.get("GATEWAY_ADDR", "localhost:10000")
USERNAME = os.environ.get("TEST_USERNAME", "TestUser")
PASSWORD = os.environ.get("TEST_PASSWORD", "TestPassword")
STACK = os.environ.get("STACK")
SERVICE = "/my_service.MyServiceAPI/"
TIMEOUT = 60

checks = failed = 0


def check(holds, text):
    global checks, failed
    checks += 1
    failed += not holds
    print(("ok - " if holds else "not ok - ") + text, flush=True)
    return holds


def equal(got, want, text):
    return check(got == want, f"{text}: got {got!r}"
                 + ("" if got == want else f", want {want!r}"))


class Client:
    """A session with a connection of its own."""

    def __init__(self, label):
        self.session = f"compat-python-{label}-{time.time_ns()}"
        self.channel = grpc.insecure_channel(
            GATEWAY, [("grpc.use_local_subchannel_pool", 1)])
        self.token = None
        self.pod = None

    def method(self, name, response, stream=False):
        make = (self.channel.unary_stream if stream
                else self.channel.unary_unary)
        return make(SERVICE + name, lambda m: m.SerializeToString(),
                    response.FromString)

    def metadata(self):
        return (("authorization", self.token), ("session-id", self.session))

    def login(self, username=USERNAME, password=PASSWORD, session=None):
        return self.method("Login", pb.LoginResponse).with_call(
            pb.LoginRequest(username=username, password=password,
                            session_id=session or self.session),
            timeout=TIMEOUT)

    def echo(self, metadata=None, name="MyServiceEcho"):
        return self.method(name, pb.EchoResponse).with_call(
            pb.EchoRequest(value="h\u00e9llo"), timeout=TIMEOUT,
            metadata=self.metadata() if metadata is None else metadata)

    def subscribe(self, timeout=None, metadata=None):
        return self.method("MyServiceSubscribe", pb.EchoResponse, True)(
            pb.EchoRequest(value="h\u00e9llo"), timeout=timeout,
            metadata=self.metadata() if metadata is None else metadata)

    def shutdown(self):
        return self.method("MyServiceShutdown", pb.ShutdownResponse).with_call(
            pb.ShutdownRequest(), timeout=TIMEOUT, metadata=self.metadata())


def good(text, call):
    """The response of a unary call that succeeds."""
    try:
        response, info = call()
    except grpc.RpcError as error:
        check(False, f"{text}: {error.code()} {error.details()!r}")
        return None
    return response if equal(info.code(), grpc.StatusCode.OK, text) else None


def refused(text, call, code, message):
    """A status in trailers, and no message before it."""
    try:
        response = call()
        if not isinstance(response, tuple):
            response = next(response)
        check(False, f"{text}: not refused")
    except grpc.RpcError as error:
        equal((error.code(), error.details()), (code, message), text)
        trailers = error.trailing_metadata()
        check(trailers is not None, f"{text}: trailers {trailers!r}")


def sign_in(label):
    client = Client(label)
    answer = good(f"{label}: Login", client.login)
    if answer is None:
        sys.exit(1)
    check(answer.token != "" and answer.role != ""
          and answer.expires_at.seconds > time.time(),
          f"{label}: token, role {answer.role!r}, expires_at "
          f"{answer.expires_at.seconds}")
    client.token = answer.token
    return client


def fields(text, client, answer, method, index, pod=None):
    if answer is None:
        return False
    client.pod = answer.pod_name
    return equal(
        (answer.client_value, answer.server_value, answer.server_session_id,
         answer.client_session_id, answer.index, answer.server_method,
         answer.pod_name),
        ("h\u00e9llo", "my_service", client.session, client.session, index,
         method, pod or answer.pod_name), text)


def echo(client, pod=None, text="Echo"):
    return fields(text, client, good(text, client.echo), "MyServiceEcho", 0,
                  pod)


def message(client, stream, index, pod=None):
    text = f"stream: message {index}"
    try:
        answer = next(stream)
    except (grpc.RpcError, StopIteration) as error:
        return check(False, f"{text}: {error!r}")
    return fields(text, client, answer, "MyServiceSubscribe", index, pod)


def login_errors():
    client, code = Client("login"), grpc.StatusCode
    refused("Login without a username", lambda: client.login(username=""),
            code.INVALID_ARGUMENT, "username is required")
    refused("Login with a wrong password",
            lambda: client.login(password="wrong"),
            code.PERMISSION_DENIED, "invalid username or password")
    refused("Login of an unknown user",
            lambda: client.login(username="nobody"),
            code.PERMISSION_DENIED, "invalid username or password")


def refusals(client):
    code = grpc.StatusCode
    session = ("session-id", client.session)
    token = ("authorization", client.token)
    for text, metadata, want in (
            ("neither header", (), "missing session-id"),
            ("token only", (token,), "missing session-id"),
            ("session-id only", (session,), "missing or invalid token"),
            ("malformed token", (session, ("authorization", "a.b.c")),
             "missing or invalid token"),
            ("other session-id", (token, ("session-id", "other")),
             "session-id mismatch")):
        refused(f"{text}: Echo", lambda: client.echo(metadata),
                code.UNAUTHENTICATED, want)
        refused(f"{text}: Subscribe",
                lambda: client.subscribe(TIMEOUT, metadata),
                code.UNAUTHENTICATED, want)
    refused("unknown method", lambda: client.echo(name="NoSuchMethod"),
            code.UNIMPLEMENTED, "method not routed")
    refused("Shutdown before any call", client.shutdown,
            code.PERMISSION_DENIED, "Server session is not set")


def calls(client):
    echo(client, text="Echo 1 of 10")
    for n in range(2, 11):
        echo(client, client.pod, f"Echo {n} of 10")
    bearer = (("authorization", "Bearer " + client.token),
              ("session-id", client.session))
    fields("Echo with Bearer", client,
           good("Echo with Bearer", lambda: client.echo(bearer)),
           "MyServiceEcho", 0, client.pod)


def streams(client):
    pod, stream = client.pod, client.subscribe()
    for index in range(3):
        message(client, stream, index, pod)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.echo()[0].pod_name,
                                range(20)))
    equal(set(answers), {pod}, "twenty Echo at once beside the stream")
    stream.cancel()
    equal(stream.code(), grpc.StatusCode.CANCELLED, "stream: cancelled")
    echo(client, pod, "Echo after the cancel")

    stream = client.subscribe(timeout=1)
    try:
        for index, answer in enumerate(stream):
            fields("stream with a deadline", client, answer,
                   "MyServiceSubscribe", index, pod)
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED,
              "stream: deadline")
    echo(client, pod, "Echo after the deadline")


def kill(client):
    subprocess.run([STACK, "kill", client.pod.rpartition("-")[2]],
                   stdout=sys.stderr, check=True)


def killed(client):
    old, stream = client.pod, client.subscribe()
    message(client, stream, 0, old)
    kill(client)
    index = 1
    for answer in stream:
        if answer.pod_name != old:
            break
        fields("stream: sent before the kill", client, answer,
               "MyServiceSubscribe", index, old)
        index += 1
    fields("stream: goes on from another instance", client, answer,
           "MyServiceSubscribe", 0)
    check(client.pod != old, f"was {old}, is {client.pod}")
    message(client, stream, 1, client.pod)
    stream.cancel()
    echo(client, client.pod, "Echo on the new instance")


def busy(client):
    others = [sign_in("second"), sign_in("third")]
    for other in others:
        echo(other, text="Echo of another session")
    last = sign_in("last")
    refused("no instance is free", last.echo,
            grpc.StatusCode.RESOURCE_EXHAUSTED, "all instances are busy")

    pod = client.pod
    answer = good("Shutdown", client.shutdown)
    if answer is not None:
        equal((answer.pod_name, answer.server_session_id,
               answer.client_session_id, answer.index, answer.server_method),
              (pod, client.session, client.session, 0, "MyServiceShutdown"),
              "Shutdown")
    refused("Echo after Shutdown", client.echo,
            grpc.StatusCode.RESOURCE_EXHAUSTED, "all instances are busy")
    return others


def unavailable(others):
    good("Shutdown of another session", others[1].shutdown)
    stream = others[0].subscribe()
    message(others[0], stream, 0)
    kill(others[0])
    index = 1
    try:
        for index, answer in enumerate(stream, 1):
            fields("stream: sent before the kill", others[0], answer,
                   "MyServiceSubscribe", index)
        check(False, "stream: ended without an error")
    except grpc.RpcError as error:
        equal((error.code(), error.details()),
              (grpc.StatusCode.UNAVAILABLE, "backend service unavailable"),
              "stream: the last instance is killed")
    refused("Echo without instances", others[0].echo,
            grpc.StatusCode.UNAVAILABLE, "backend service unavailable")


def main():
    print(f"# grpcio {grpc.__version__}, gateway {GATEWAY}")
    login_errors()
    client = sign_in("first")
    refusals(client)
    calls(client)
    streams(client)
    if STACK is not None:
        killed(client)
    else:
        check(True, "instances killed # SKIP the stack cannot be stopped from here")
    others = busy(client)
    if STACK is not None:
        unavailable(others)
    print(f"1..{checks}")
    sys.exit(1 if failed else 0)


main()
