"""Runs a command and kills it, with all its children, when the caller is gone: `python guard.py COMMAND…`.

The caller holds the other end of standard input. A Ray worker that is killed cannot clean up, and its stage would go on
beside the one that takes its place. Ray kills a worker's children with it, but not theirs, so a grandchild watches.
"""

import os
import signal
import subprocess
import sys
import threading


def guard(command: list[str]) -> int:
    """Runs the command in a process group of its own; the group is killed at the end of standard input."""
    os.setsid()

    def watch():
        while os.read(0, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def main():
    child = os.fork()
    if child == 0:
        os._exit(guard(sys.argv[1:]) & 0xFF)  # the thread still reads, so the interpreter could not end by itself
    _, status = os.waitpid(child, 0)
    sys.exit(abs(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
