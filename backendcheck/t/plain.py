"""A server on grpcio that knows nothing of sessions: a unary method, a stream
and a bidirectional one, and no health service. Prints its address."""

from concurrent import futures

import grpc


def call(request, context):
    return b""


def watch(request, context):
    for _ in range(3):
        yield b""


def talk(requests, context):
    for _ in requests:
        yield b""


METHODS = grpc.method_handlers_generic_handler(
    "plain.Plain",
    {
        "Call": grpc.unary_unary_rpc_method_handler(call),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    },
)

server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers((METHODS,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on 127.0.0.1:{port}", flush=True)
server.wait_for_termination()
