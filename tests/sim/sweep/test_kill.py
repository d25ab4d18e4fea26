"""Sweeps that are killed at random moments: after `--resume` nothing is missing, nothing twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.sweep.engine import AHEAD
from sim.sweep.store import FILE, Store
from workloads.errors import InputError

FILE_TEXT = """
workload = "{trace}"
machine = "spatten"
[axes]
"machine.value_topk.lanes" = [1, 4]
"machine.clock_hz" = {{ range = [1e8, 2e9], count = {count} }}
"""


QUICK = """
import sys
import time
from pathlib import Path

from sim.sweep.evaluate import Evaluated


def evaluate(trace, machine, wanted):
    time.sleep(0.01)
    detail = {"units": {"unit": ["a", "b"], "cycles": [1, 2]}}
    return Evaluated({"latency_ns": 1e9 / machine.clock_hz, "energy_pj": 1.0}, detail, None)


if __name__ == "__main__":
    from reports.sweeping.traces import ModelTraces
    from sim.sweep import Processes, Space, Sweep, work

    work.evaluate = evaluate
    sweep = Sweep(Space.read(Path(sys.argv[1])), ModelTraces(), Path(sys.argv[2]))
    print("ran", sweep.run(Processes(2), resume=True).ran)
"""


class Command:
    """A sweep in its own process group: the command, or a script whose points take 10 ms."""

    def __init__(self, folder, trace, points, quick=False):
        self.folder, self.points = folder, points
        self.file = folder / "sweep.toml"
        self.file.write_text(FILE_TEXT.format(trace=trace, count=points // 2))
        (folder / "quick.py").write_text(QUICK)
        self._command = [str(folder / "quick.py"), str(self.file)]
        self._options = []
        if not quick:
            self._command = ["-m", "reports.cli", "sweep", str(self.file), "--out"]
            self._options = ["--jobs", "2", "--resume", "--no-report", "--json"]

    def start(self, out):
        return subprocess.Popen(
            [sys.executable, *self._command, str(self.folder / out), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, out):
        process = self.start(out)
        said, told = process.communicate()
        assert process.returncode == 0, told
        return said

    def count(self, out):
        """Return how many points are there; reads beside the running sweep."""
        if not (self.folder / out / FILE).exists():
            return 0
        try:
            with Store(self.folder / out, reading=True) as store:
                return sum(store.counts().values())
        except InputError:  # not yet begun
            return 0

    def wait_for(self, out, count, process):
        while process.poll() is None and self.count(out) < count:
            time.sleep(0.002)


def workers_of(pid):
    """Return the processes that run the points of a sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(path.name))
    return found


def kill_group(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def killed_again_and_again(command, kills, seed):
    """Kill the sweep at random moments, a fifth of them before its first point, then finish it."""
    drawn = random.Random(seed)
    room = command.points // (kills + 1)
    struck = 0
    while struck < kills:
        process = command.start("killed")
        if drawn.random() < 0.2:
            time.sleep(drawn.uniform(0.0, 2.0))
        else:
            there = command.count("killed")
            command.wait_for("killed", there + drawn.randint(1, room), process)
            time.sleep(drawn.uniform(0.0, 0.03))
        if process.poll() is not None:
            break  # it finished first
        kill_group(process)
        struck += 1
    command.finish("killed")
    return struck


SLOW = pytest.param(500, 20, False, marks=pytest.mark.slow)


@pytest.mark.parametrize(("points", "kills", "quick"), [(80, 3, True), SLOW])
def test_a_sweep_that_is_killed_equals_one_that_is_not(
    tmp_path, traces, kept, points, kills, quick
):
    command = Command(tmp_path, traces[0], points, quick)
    assert killed_again_and_again(command, kills, seed=points) == kills
    command.finish("whole")
    found = kept(tmp_path / "killed")
    assert [p[0] for p in found] == list(range(points))
    assert len({p[1] for p in found}) == points
    assert found == kept(tmp_path / "whole")


@pytest.mark.parametrize(("points", "kills", "quick"), [(120, 3, True), SLOW])
def test_killed_workers_cost_no_point(tmp_path, traces, kept, points, kills, quick):
    command = Command(tmp_path, traces[0], points, quick)
    drawn = random.Random(points)
    process = command.start("killed")
    for _ in range(kills):
        # so much later that the call lost before has been run again: dying twice is its own fault
        there = command.count("killed") + 2 * AHEAD + 2
        command.wait_for("killed", there + drawn.randint(0, 8), process)
        time.sleep(drawn.uniform(0.0, 0.03))
        os.kill(drawn.choice(workers_of(process.pid)), signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 0, told
    command.finish("whole")
    assert len(kept(tmp_path / "killed")) == points
    assert kept(tmp_path / "killed") == kept(tmp_path / "whole")


@pytest.mark.parametrize("group", [True, False])
def test_ctrl_c_keeps_everything(tmp_path, traces, kept, group):
    command = Command(tmp_path, traces[0], 16)
    process = command.start("stopped")
    command.wait_for("stopped", 3, process)
    workers = workers_of(process.pid)
    assert workers
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    said, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == ""
    there = kept(tmp_path / "stopped")
    assert told.strip() == (
        f"prunesim: stopped; {len(there)} points are kept in {tmp_path / 'stopped'}, "
        "--resume goes on"
    )
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    if group:
        assert f'"ran": {16 - len(there)}' in command.finish("stopped")
