#!/usr/bin/python3
"""client.py SESSION CODE...: runs lines of code in the prompt of a session.

Starts from the tree, after examples/run has built the example. A client of
yours has a token from its issuer; here it is made with the issuer's key.
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILT = HERE.parent.parent / "build/examples/python"
sys.path.insert(0, str(BUILT))

import grpc                                             # noqa: E402
import repl_pb2                                         # noqa: E402
import repl_pb2_grpc                                    # noqa: E402

session, lines = sys.argv[1], sys.argv[2:]
token = subprocess.check_output(
    [HERE.parent / "issuer", "token", BUILT, "prompt=" + session], text=True)
metadata = (("authorization", "Bearer " + token.strip()), ("prompt-id", session))

# While all instances are busy the gateway says when to come again, which replaces
# the backoff.
policy = {"methodConfig": [{
    "name": [{"service": "repl.Repl"}],
    "retryPolicy": {
        "maxAttempts": 5, "initialBackoff": "0.01s", "maxBackoff": "1s",
        "backoffMultiplier": 2, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    },
}]}

with grpc.insecure_channel("127.0.0.1:7000", options=[
        ("grpc.service_config", json.dumps(policy))]) as channel:
    repl = repl_pb2_grpc.ReplStub(channel)
    for line in lines:
        try:
            print(repl.Run(repl_pb2.Code(text=line), metadata=metadata,
                           timeout=60).text, end="")
        except grpc.RpcError as error:
            sys.exit("%s: %s" % (error.code().name, error.details()))
