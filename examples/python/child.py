"""The child process of repl.py: the prompt of one session.

Reads code as lines of JSON; writes what it prints as lines of JSON, and null
when it is ready for more. SIGINT interrupts the code that it was meant for, and
no other: outside of code it is blocked, and what waits then came too late.
"""

import code
import json
import signal
import sys

lines = sys.stdout


class Out:
    flush = lines.flush

    def write(self, text):
        for i in range(0, len(text), 4096):
            lines.write(json.dumps(text[i:i + 4096]) + "\n")
        lines.flush()


def ready():
    lines.write("null\n")
    lines.flush()


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sys.stdout = sys.stderr = Out()
shell = code.InteractiveInterpreter({"__name__": "session"})
ready()
for line in iter(sys.stdin.readline, ""):
    signal.sigtimedwait([signal.SIGINT], 0)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            if shell.runsource(json.loads(line) + "\n", "<session>", "single"):
                print("incomplete input")
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    except (KeyboardInterrupt, SystemExit):
        pass
    ready()
