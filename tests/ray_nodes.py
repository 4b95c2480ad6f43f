"""A Ray cluster of several nodes on this machine, drivers that use it, and the processes that they start."""

import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from ray.util import get_node_ip_address

from tests import pipelines
from tests.conftest import ROOT
from tests.pipelines import environment

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_prestart_worker_first_driver": "0",  # drivers here need workers of their own
}


def python() -> Path:
    """The ordinary interpreter; a worker's stages use the tools beside it."""
    return pipelines.TOOLS[0] / "python3"


def free_port() -> int:
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def node(folder: Path, address: str, number: int) -> subprocess.Popen:
    """Starts a Ray node with one CPU, of a cluster at that address of this machine; number 0 is its head."""
    where = (
        ["--address", address]
        if number
        else ["--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false", "--no-monitor"]
    )
    command = [python(), "-m", "ray.scripts.scripts", "start", *where]
    command += ["--num-cpus", "1", "--disable-usage-stats", "--include-log-monitor", "false", "--block"]
    with log(folder, number).open("w") as file:
        output = {"stdout": file, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, env=environment(folder, **SETTINGS), start_new_session=True, **output)


def log(folder: Path, number: int) -> Path:
    return folder / f"node-{number}.log"


def stop(process: subprocess.Popen):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def ray_cluster(folder: Path, count: int):
    """The address of a Ray cluster of that many nodes with one CPU each."""
    address = f"{get_node_ip_address()}:{free_port()}"
    nodes = [node(folder, address, 0)]
    try:
        wait_for(lambda: joined(nodes, folder, address, 0))  # a node that finds no head ends
        nodes += [node(folder, address, number) for number in range(1, count)]
        wait_for(lambda: all(joined(nodes, folder, address, number) for number in range(count)), 120)
        yield address
    finally:
        for each in nodes:
            stop(each)


def joined(nodes: list[subprocess.Popen], folder: Path, address: str, number: int) -> bool:
    """Whether a node is in the cluster; starts it again if it has given up, as on a busy machine."""
    if nodes[number].poll() is not None:
        nodes[number] = node(folder, address, number)
    return "Ray runtime started" in log(folder, number).read_text()


def cluster(project: Path, *arguments: str) -> subprocess.Popen:
    """Starts the driver, whose errors go to its output."""
    return subprocess.Popen(
        [python(), "-m", "cluster", *arguments],
        cwd=project,
        env=environment(project, PYTHONPATH=str(ROOT), **SETTINGS),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(driver: subprocess.Popen, status: int = 0) -> str:
    output = driver.communicate(timeout=600)[0]
    assert driver.returncode == status, output
    return output


def wait_for(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def ancestor(pid: int, words: str) -> int:
    """The nearest process that a stage's process descends from whose command holds those words."""
    while words not in command_line(pid):
        pid = parent(pid)
    return pid
