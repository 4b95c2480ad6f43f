"""The pipeline on Ray: the order of stages, and a small project that loses workers and drivers."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from cluster import store, worker
from cluster.__main__ import main
from cluster.graph import UNKNOWN
from cluster.order import Order, critical_path, makespan
from cluster.report import Report
from stages.common.files import write_text
from tests import pipelines
from tests.conftest import ROOT
from tests.pipelines import commit, executed, run
from tests.ray_nodes import alive, ancestor, cluster, command_line, ended, ray_cluster, wait_for

DIAMOND = {"data": [], "train": ["data"], "card": ["data"], "report": ["train", "card"]}
SECONDS = {"data": 1.0, "train": 10.0, "card": 2.0, "report": 1.0}


def drain(order: Order) -> list[str]:
    taken = []
    while (stage := order.take()) is not None:
        taken.append(stage)
        order.finish(stage)
    return taken


def test_of_the_ready_stages_the_one_with_the_longest_way_ahead_goes_first():
    order = Order(DIAMOND, SECONDS)
    assert order.ahead == {"data": 12.0, "train": 11.0, "card": 3.0, "report": 1.0}
    assert drain(order) == ["data", "train", "card", "report"]
    assert order.left == 0
    assert drain(Order(DIAMOND, {**SECONDS, "card": 20.0})) == ["data", "card", "train", "report"]


def test_a_stage_waits_for_all_that_it_depends_on():
    order = Order(DIAMOND, SECONDS)
    assert order.take() == "data"
    assert order.take() is None
    order.finish("data")
    assert [order.take(), order.take(), order.take()] == ["train", "card", None]
    order.finish("card")
    assert order.take() is None
    order.finish("train")
    assert order.take() == "report"


def test_a_lost_stage_runs_again():
    order = Order(DIAMOND, SECONDS)
    order.take()
    order.again("data")
    assert drain(order) == ["data", "train", "card", "report"]


def test_a_failure_blocks_what_depends_on_it_and_nothing_else():
    depends = {**DIAMOND, "other": ["data"], "page": ["report"]}
    order = Order(depends, {**SECONDS, "other": 0.5, "page": 0.1})
    order.finish(order.take())
    assert order.take() == "train"
    assert order.fail("train") == {"report", "page"}
    assert drain(order) == ["card", "other"]
    assert (order.left, order.failed, order.blocked) == (0, {"train"}, {"report", "page"})


def test_a_circle_is_refused():
    with pytest.raises(ValueError, match=r"in a circle: \['a', 'b'\]"):
        Order({"a": ["b"], "b": ["a"]}, {"a": 1.0, "b": 1.0})


@pytest.mark.parametrize(("slots", "expected"), [(1, 14.0), (2, 12.0), (3, 12.0)])
def test_simulated_seconds(slots, expected):
    assert makespan(DIAMOND, SECONDS, slots) == expected
    assert critical_path(DIAMOND, SECONDS) == 12.0


def test_an_order_by_wrong_expectations_still_runs_everything():
    wrong = {**SECONDS, "train": 0.1, "card": 100.0}
    assert makespan(DIAMOND, wrong, 1, SECONDS) == 14.0


def test_resources_name_stages_that_exist():
    names = yaml.safe_load((ROOT / "cluster/resources.yaml").read_text()).keys() - {"default"}
    stages = [
        yaml.safe_load(path.read_text())["stages"] for path in (ROOT / "dvc.yaml", *ROOT.glob("stages/*/*/dvc.yaml"))
    ]
    assert names <= set().union(*stages)


def test_the_table_on_a_terminal_says_what_runs_where_what_waits_and_how_long_it_takes(tmp_path):
    order = Order(DIAMOND, {**SECONDS, "train": 130.0})
    report = Report(order, tmp_path / "log")
    order.finish(order.take())
    assert [order.take(), order.take()] == ["train", "card"]
    report.begin(2)
    report.started["train"] = "node-7", time.monotonic() - 4
    screen = Console(width=100, file=io.StringIO())
    screen.print(report.table())
    heading, running, *caption = screen.file.getvalue().splitlines()
    assert heading.split() == ["running", "on", "for", "expected"]
    assert running.split() == ["train", "node-7", "00:00:04", "00:02:10"]
    assert " ".join(" ".join(caption).split()) == "1 of 4 stages done; about 2 min left; 1 wait"
    assert report.remaining() == pytest.approx(127, abs=0.5)  # the rest of train, then report
    assert (tmp_path / "log").read_text() == "00:00:00 3 stages, 2 at a time; about 2 min\n"
    untimed = Report(Order(DIAMOND, dict.fromkeys(DIAMOND, UNKNOWN)), tmp_path / "log")
    untimed.begin(2)
    assert (tmp_path / "log").read_text().endswith("4 stages, 2 at a time\n")


warm, ordinary = pipelines.warm, pipelines.ordinary
PIPELINE = """
stages:
  data: {cmd: "seq 1000 | tee data.txt > /dev/null; sh work.sh mark", deps: [work.sh], params: [rows], outs: [data.txt]}
  train: {cmd: "sh work.sh train", deps: [data.txt, work.sh], params: [train], outs: [train.txt]}
  other: {cmd: "sh work.sh other", deps: [data.txt, work.sh], outs: [other.txt]}
  report:
    cmd: "cat train.txt other.txt > report.txt"
    deps: [train.txt, other.txt]
    plots: [report.txt: {cache: false}]
"""
WORK = """
echo $$ >> "MARKS/$1"
while test -e "MARKS/$1.holds"; do sleep 0.1; done
test "$1" = mark && exit
test ! -e "MARKS/$1.fails" && (sed -n "s/^$1: //p" params.yaml; wc -l < data.txt) > "$1.txt"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A small DVC project, committed. Its stages leave their process numbers in the folder `marks` beside it, and wait
    for as long as a file there holds them.
    """
    folder = tmp_path / "project"
    for path, content in {
        "project/dvc.yaml": PIPELINE,
        "project/work.sh": WORK.replace("MARKS", str(tmp_path / "marks")),
        "project/params.yaml": "threads: 1\nrows: 1000\ntrain: 6\n",
        "project/.gitignore": "/.cluster/\n/.checkpoints/\n/.timings/\n/data.txt\n/train.txt\n/other.txt\n",
        **{f"project/.dvc/{name}": (ROOT / ".dvc" / name).read_text() for name in ("config", ".gitignore")},
        "marks/.keep": "",
    }.items():
        write_text(tmp_path / path, content)
    run(folder, "git", "init", "-q")
    for key in ("name", "email"):
        run(folder, "git", "config", f"user.{key}", "tests")
    commit(folder, "a small pipeline")
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory, warm):
    """The address of a Ray cluster with two nodes of one CPU."""
    with ray_cluster(tmp_path_factory.mktemp("ray"), 2) as address:
        yield address


def mark(project: Path, name: str) -> list[int]:
    """The process numbers of a stage's runs so far."""
    path = project.parent / "marks" / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def hold(project: Path, name: str) -> Path:
    """A file that holds a stage's runs for as long as it exists."""
    path = project.parent / f"marks/{name}.holds"
    path.touch()
    return path


def change(path: Path, old: str, new: str):
    path.write_text(path.read_text().replace(old, new))


def refusal(project: Path, *arguments: str) -> str:
    """Why the driver, run in this process, ends before any work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("DVC_SITE_CACHE_DIR", str(project.parent / "site-cache"))
        patch.setattr(sys, "argv", ["cluster", *arguments])
        with pytest.raises(SystemExit) as refused:
            main()
    return str(refused.value.code)


def test_what_cannot_run_is_refused_before_any_work(project, capsys):
    assert "needs a default remote" in refusal(project, "--remote")
    assert "Stage 'none' not found" in refusal(project, "none")
    assert "no experiment is queued" in refusal(project, "--queue")
    assert refusal(project, "other", "--queue") == "2"
    assert "takes no targets" in capsys.readouterr().err
    (project / "stages").mkdir()
    (project / "stages/new.py").touch()
    assert "git does not know stages/new.py" in refusal(project)
    assert not mark(project, "mark")


@pytest.mark.slow
def test_it_leaves_what_dvc_repro_leaves(project, tmp_path, address):
    """With a cluster of its own or a running one; uncommitted changes of known files run too."""
    change(project / "work.sh", "wc -l", "wc -c")
    plain, own = (shutil.copytree(project, tmp_path / name) for name in ("plain", "own"))
    run(plain, "dvc", "repro")
    for folder, options in ((own, ["--jobs", "2"]), (project, ["--address", address])):
        output = ended(cluster(folder, *options))
        assert "4/4 dvc.yaml:report" in output
        assert "Running stage" not in output  # the driver itself runs nothing, it restores
        for name in ("dvc.lock", "data.txt", "train.txt", "report.txt", "params.yaml"):
            assert (folder / name).read_bytes() == (plain / name).read_bytes()
        assert (folder / "train.txt").read_text().split() == ["6", "3893"]
        assert not executed(run(folder, "dvc", "repro"))
        assert run(folder, "git", "diff", "--name-only").stdout.split() == ["work.sh"]
        assert run(folder, "git", "status", "--porcelain").stdout == run(plain, "git", "status", "--porcelain").stdout
    assert len(mark(project, "train")) == 3  # by each of the three once


@pytest.mark.slow
def test_a_failure_names_the_stage_and_its_output_and_a_second_start_sends_only_what_is_left_or_changed(
    project, tmp_path, address
):
    (tmp_path / "marks/train.fails").touch()
    output = ended(cluster(project, "--address", address), status=1)
    assert "failed: dvc.yaml:train; its output: .cluster/logs/dvc.yaml-train.log" in output
    assert "ERROR: failed to reproduce 'train'" in (project / ".cluster/logs/dvc.yaml-train.log").read_text()
    assert (project / "other.txt").exists()
    assert not (project / "report.txt").exists()
    (tmp_path / "marks/train.fails").unlink()
    change(project / "dvc.yaml", "work.sh other", "work.sh  other")
    output = ended(cluster(project, "--address", address))
    assert "3 stages, 1 known from an earlier start" in output
    assert (project / "report.txt").exists()
    runs = [len(mark(project, name)) for name in ("mark", "train", "other")]
    assert runs == [1, 2, 2]  # the first was restored, not run again
    shutil.rmtree(project / ".dvc/cache")  # what is known is of no use without the cache
    (project / "train.txt").unlink()
    ended(cluster(project, "train", "--address", address))
    assert len(mark(project, "train")) == 3


@pytest.mark.slow
def test_a_killed_worker_or_driver_leaves_no_process_and_what_it_ran_runs_again(project, address, ordinary):
    held = hold(project, "train")
    driver = cluster(project, "--address", address)
    first = wait_for(lambda: mark(project, "train"))[0]
    os.kill(ancestor(first, "ray::"), signal.SIGKILL)
    wait_for(lambda: not alive(first))
    wait_for(lambda: "dvc.yaml:train: WorkerCrashedError; it runs again" in (project / ".cluster/log").read_text())
    for runs, how in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGTERM), 1):
        last = wait_for(lambda runs=runs: mark(project, "train")[runs:])[0]
        wait_for(lambda: "dvc.yaml:other: " in (project / ".cluster/log").read_text())
        assert "another driver runs in this clone" in refusal(project, "--address", address)
        driver.send_signal(how)
        output = driver.communicate(timeout=60)[0]
        assert how == signal.SIGKILL or "interrupted; the same command goes on" in output
        wait_for(lambda last=last: not alive(last))
        driver = cluster(project, "--address", address)
    held.unlink()
    ended(driver)
    assert (project / "report.txt").exists()
    assert (len(mark(project, "train")), len(mark(project, "other"))) == (5, 1)


@pytest.mark.slow
def test_targets_run_alone_with_what_they_need(project, address):
    output = ended(cluster(project, "other", "--address", address))
    assert "2/2 dvc.yaml:other" in output
    assert (project / "other.txt").exists()
    assert not (project / "train.txt").exists()
    assert list(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == ["data", "other"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--remote"]], ids=["shared", "remote"])
def test_queued_experiments_run_together_and_equal_stages_once(project, tmp_path, address, options):
    if options:
        run(project, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
        commit(project, "a remote")
    for value in ("7", "8"):
        run(project, "dvc", "exp", "run", "--queue", "-n", f"size-{value}", "-S", f"train={value}")
    output = ended(cluster(project, "--address", address, "--queue", *options))
    assert "size-7 dvc.yaml:train: " in output
    assert "size-8 dvc.yaml:train: " in output
    assert len(mark(project, "mark")) == 1
    assert (len(mark(project, "train")), len(mark(project, "other"))) == (2, 1)
    names = run(project, "dvc", "exp", "list", "--name-only").stdout.split()
    assert sorted(names) == ["size-7", "size-8"]
    shown = {value: run(project, "git", "show", f"refs/exps/{ref}:report.txt").stdout for value, ref in refs(project)}
    assert shown == {"size-7": "7\n1000\n1000\n", "size-8": "8\n1000\n1000\n"}
    assert not run(project, "git", "status", "--porcelain").stdout
    assert "no experiment is queued" in refusal(project, "--queue")


def refs(project: Path) -> list[tuple[str, str]]:
    """The name of each finished experiment, and its reference below refs/exps."""
    listed = run(project, "git", "for-each-ref", "--format=%(refname:lstrip=2)", "refs/exps").stdout.split()
    return [(ref.rpartition("/")[2], ref) for ref in listed if "/size-" in ref]


def test_a_remote_that_fails_after_a_stage_ran_fails_it_and_keeps_its_output(project, tmp_path, monkeypatch):
    """A remote's library raises errors of its own, which Ray would take for the loss of a machine."""

    class EndpointConnectionError(Exception):
        pass

    def push(*_):
        raise EndpointConnectionError("no answer")

    monkeypatch.setattr(store, "push", push)
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    run(project, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    commit(project, "a remote")
    commit_id = run(project, "git", "rev-parse", "HEAD").stdout.strip()
    params = (project / "params.yaml").read_text()
    scratch = str(tmp_path / "scratch")
    source = worker.Source(str(project), commit_id, "HEAD", params, None, True, None, scratch)
    host, outcome = worker.run(source, "dvc.yaml:data", {})
    assert host == outcome.host
    assert outcome.status == 1
    assert "Running stage 'data'" in outcome.log
    assert outcome.log.endswith("EndpointConnectionError: no answer\n")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_fails_the_stage_and_says_so(project, tmp_path, address):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(small)]).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ended(cluster(project, "data", "--address", address, "--scratch", str(small)), status=1)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert "No space left on device" in (project / ".cluster/logs/dvc.yaml-data.log").read_text()
    ended(cluster(project, "data", "--address", address))
    assert (project / "data.txt").exists()


@pytest.mark.slow
def test_a_lost_node_s_stage_runs_on_another(project, address, ordinary):
    """The last test of this file, since the cluster then has one node left."""
    held = {name: hold(project, name) for name in ("train", "other")}
    driver = cluster(project, "--address", address)
    first = {name: wait_for(lambda name=name: mark(project, name))[0] for name in held}
    nodes = {name: ancestor(pid, " start --") for name, pid in first.items()}
    lost, stays = sorted(first, key=lambda name: "--head" in command_line(nodes[name]))
    assert "--head" in command_line(nodes[stays])
    os.killpg(nodes[lost], signal.SIGKILL)
    wait_for(lambda: not alive(first[lost]))
    for path in held.values():
        path.unlink()
    output = ended(driver)
    assert f"dvc.yaml:{lost}: " in output
    assert "it runs again" in output
    assert (len(mark(project, lost)), len(mark(project, stays))) == (2, 1)
    assert (project / "report.txt").exists()
