"""Dask: the same rows as processes, and what is told when a part of the cluster is missing.

The cluster is a scheduler and workers in processes of their own, as on a real one.
"""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from reports.sweeping.traces import ModelTraces
from sim.sweep import Sweep, cluster
from sim.sweep.cluster import GONE, Dask
from sim.sweep.engine import AHEAD, Answer, Call
from workloads.errors import InputError

pytest.importorskip("distributed")

# its own process: what it logs is not ours, and it can be killed
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1, processes=True,
                      dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


class Cluster:
    """Workers on this machine; they run in another folder than the tests."""

    def __init__(self, folder, workers=2):
        (folder / "cluster.py").write_text(CLUSTER)
        self.process = subprocess.Popen(
            [sys.executable, "cluster.py", str(workers)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path[1:]])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.address = self.process.stdout.readline().strip()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Two workers that the tests share."""
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.close()


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)


def results(engine, stream):
    return {reply.tag: reply.failure or reply.value for reply in engine.run(stream)}


def test_rows_are_those_of_processes(workers, sweep, space_of, traces, tmp_path, kept, monkeypatch):
    space = space_of({"workload": traces, "machine.value_topk.lanes": [1, 2, 0]})
    sweep(space, tmp_path / "here")
    monkeypatch.chdir(tmp_path)  # relative to a folder in which no worker runs
    folder = (tmp_path / "there").relative_to(tmp_path)
    folder.mkdir()
    done = Sweep(space, ModelTraces(), folder).run(Dask(workers.address, folder))
    assert done.counts == {"done": 4, "failed": 2}
    assert kept(tmp_path / "there") == kept(tmp_path / "here")


def test_what_a_call_does_to_its_worker_costs_one_answer(workers, tmp_path):
    calls = [Call(i, pow, (i, 2)) for i in range(20)]
    calls.insert(5, Call("value", int, ("x",)))
    calls.insert(8, Call("kill", signal.raise_signal, (signal.SIGKILL,)))
    with Dask(workers.address, tmp_path) as engine:
        found = results(engine, [*calls, Answer("there")])
    assert found == {i: i * i for i in range(20)} | {
        "value": "ValueError: invalid literal for int() with base 10: 'x'",
        "kill": "the workers that ran it died, again and again",
        "there": None,
    }


def test_only_a_few_calls_are_taken_from_the_stream_at_a_time(workers, tmp_path):
    taken = answered = most = 0

    def stream():
        nonlocal taken
        for i in range(100):
            taken += 1
            yield Call(i, abs, (i,))

    with Dask(workers.address, tmp_path) as engine:
        for _ in engine.run(stream()):
            answered += 1
            most = max(most, taken - answered + 1)
    assert answered == 100
    assert most <= 2 * AHEAD


def test_dask_is_quiet_while_it_is_used_here(workers, tmp_path):
    logger = logging.getLogger("distributed.client")
    before = logger.level
    with Dask(workers.address, tmp_path):
        assert logger.level == logging.CRITICAL
    assert logger.level == before < logging.CRITICAL


def test_a_folder_that_workers_do_not_see_is_told(workers, tmp_path):
    hidden = tmp_path / "not there"
    sentence = rf"every worker must see the folder {hidden}, 2 of 2 do not, tcp://.* is one"
    with pytest.raises(InputError, match=sentence):
        Dask(workers.address, hidden)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_no_scheduler_is_one_sentence(brief, tmp_path, capfd):
    started = time.monotonic()
    for address in (f"tcp://127.0.0.1:{free_port()}", "nonsense"):
        with pytest.raises(
            InputError,
            match=rf"--dask must name a running scheduler as tcp://HOST:PORT, {address} gave no",
        ):
            Dask(address, tmp_path)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(InputError, match="gave no answer"):
            Dask(f"tcp://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert time.monotonic() - started < 20
    assert capfd.readouterr().err == ""


def test_a_scheduler_without_workers_is_told(tmp_path):
    empty = Cluster(tmp_path, workers=0)
    try:
        with pytest.raises(InputError, match=r"the scheduler tcp:.* must have workers, it has no"):
            Dask(empty.address, tmp_path)
    finally:
        empty.close()


def test_a_scheduler_that_goes_keeps_what_is_done(sweep, space_of, tmp_path, kept, capfd):
    own = Cluster(tmp_path)
    clocks = {"range": [1e8, 5e9], "count": 24}
    space = space_of({"machine.clock_hz": clocks})
    try:

        def progress(what, done, of):
            if what == "points" and done == 4:
                own.close()

        with pytest.raises(InputError, match=re.escape(GONE)):
            sweep(space, engine=Dask(own.address, tmp_path), progress=progress)
    finally:
        own.close()
    assert capfd.readouterr().err == ""
    there = len(kept(tmp_path / "sweep"))
    assert 4 <= there < 24
    assert sweep(space, resume=True).ran == 24 - there
    sweep(space, tmp_path / "whole")
    assert kept(tmp_path / "sweep") == kept(tmp_path / "whole")


def test_dask_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"must have dask.distributed, it is missing: pip inst"):
        Dask("tcp://127.0.0.1:1", tmp_path)
