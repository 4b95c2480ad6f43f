"""`dvc` and `python` with their libraries loaded already, for tests that run many commands.

One process imports torch, DVC and other libraries, but nothing of this project, and forks for each command. The fork
takes over the command's arguments, folder, environment and files, and returns its status. A command that is killed
leaves its fork running, so what kills uses the ordinary tools.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    *("dvc.cli.parser", "dvc.repo.reproduce", "dvc.repo.experiments.executor.local", "dvc.repo.plots", "dvc.render"),
    *("torch", "torch._dynamo", "safetensors.torch", "scipy.spatial", "scipy.stats", "scipy.signal", "pandas"),
    *("pydantic.main", "yaml", "jinja2", "matplotlib.pyplot", "seaborn", "altair", "gymnasium.envs.mujoco", "mujoco"),
)
TOOL = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"x"], [0, 1, 2])
    server.sendall(json.dumps([{tool!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(4) or 1))
"""


TOOLS = ("dvc", "python")


@contextmanager
def warm_tools(environment: Path):
    """Yields the folder of such a `dvc` and `python`; they work until the block ends.

    It is that of the executables of a new virtual environment, which has this one's packages and, as `python3`, the
    ordinary interpreter.
    """
    folder, address = environment / "bin", str(environment / "socket")
    folder.mkdir(parents=True)
    for part in ("pyvenv.cfg", "lib"):
        (environment / part).symlink_to(Path(sys.prefix) / part)
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    for tool in TOOLS:
        (folder / tool).write_text(TOOL.format(python=sys.executable, address=address, tool=tool))
        (folder / tool).chmod(0o755)
    with subprocess.Popen([folder / "python3", __file__, address], stdin=subprocess.PIPE) as server:
        while not Path(address).exists():
            assert server.poll() is None
            time.sleep(0.01)
        yield folder
        server.stdin.close()


@contextmanager
def put_aside(folder: Path):
    """Leaves the ordinary tools, which come later in the PATH, for what kills."""
    for tool in TOOLS:
        (folder / tool).rename(folder / f"{tool}.aside")
    try:
        yield
    finally:
        for tool in TOOLS:
            (folder / f"{tool}.aside").rename(folder / tool)


def serve(address: str):
    """Forks for each command, until standard input is closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        for name in LIBRARIES:
            import_module(name)
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                answer(connection)
            connection.close()


def answer(connection: socket.socket):
    """Runs a command in this process and ends it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    tool, arguments, folder, environment = json.load(connection.makefile())
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    status = 1
    try:
        run(tool, arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(str(status).encode())
    os._exit(0)  # without freeing what it shares with the server


def run(tool: str, arguments: list[str]):
    if tool == "dvc":
        sys.exit(import_module("dvc.cli").main(arguments))
    assert arguments[0] == "-m"
    sys.argv = arguments[1:]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
