"""Sweeps over a real trace: what runs, what is kept, what goes on."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sim.run import simulate
from sim.sweep import Processes, Space, work
from sim.sweep.evaluate import details, evaluate, not_a_number
from sim.sweep.point import point_of
from sim.sweep.store import Store
from workloads.errors import InputError
from workloads.trace import read_trace, write_trace

LANES = "machine.value_topk.lanes"


def test_every_point_is_run_once_and_its_row_is_the_simulation(sweep, space_of, tmp_path, traces):
    space = space_of({LANES: [1, 4], "machine.clock_hz": [1e9, 2e9]})
    done = sweep(space)
    assert (done.counts, done.ran, done.folder) == ({"done": 4}, 4, tmp_path / "sweep")
    with Store(tmp_path / "sweep", reading=True) as store:
        points = list(store.points(details=True))
        assert Space(**store.about("space")) == space
        assert len(store.traces()) == 1
    assert [p.number for p in points] == [0, 1, 2, 3]
    assert [p.assignment for p in points] == list(space.assignments())
    result = simulate(
        read_trace(Path(traces[0])), point_of(space, 2, points[2].assignment).configuration
    )
    assert points[2].row["cycles"] == int(result.row["cycles"])
    assert points[2].row["energy_pj"] == float(result.row["energy_pj"])
    assert points[2].detail == details(result)
    assert points[0].row["latency_ns"] == 2 * points[1].row["latency_ns"]
    assert all(p.seconds > 0 for p in points)


def test_processes_give_the_same_rows(sweep, space_of, tmp_path, kept, traces):
    space = space_of({"workload": traces, LANES: [1, 2, 4]})
    sweep(space, tmp_path / "a")
    sweep(space, tmp_path / "b", Processes(2))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    assert len(kept(tmp_path / "a")) == 6


def test_a_point_that_comes_twice_is_run_once_at_its_first_place(sweep, space_of, tmp_path, kept):
    axes = {LANES: [1, 2], "again": {"values": [2, 1], "set": [LANES]}}
    done = sweep(space_of(axes))
    assert done.counts == {"done": 2}
    assert [(p[0], p[3]) for p in kept(tmp_path / "sweep")] == [
        (0, {LANES: 1, "again": 2}),
        (1, {LANES: 1, "again": 1}),
    ]


def test_resume_runs_nothing_that_is_there(sweep, space_of, tmp_path, kept):
    sweep(space_of())
    before = kept(tmp_path / "sweep")
    again = sweep(space_of(), resume=True)
    assert (again.counts, again.ran) == ({"done": 3}, 0)
    assert kept(tmp_path / "sweep") == before


def test_within_changes_no_point_and_a_space_kept_without_it_goes_on(
    sweep, space_of, tmp_path, kept
):
    sweep(space_of())
    before = kept(tmp_path / "sweep")
    with Store(tmp_path / "sweep") as store:
        plain = store.about("space")
        del plain["within"]  # as a store has it that was made before there was such a field
        store.note("space", plain)
    for within in ([], [LANES], []):
        again = sweep(space_of(within=within), resume=True)
        assert (again.counts, again.ran) == ({"done": 3}, 0)
        assert kept(tmp_path / "sweep") == before
        with Store(tmp_path / "sweep", reading=True) as store:
            assert store.about("space")["within"] == within


def test_without_resume_a_folder_that_holds_a_sweep_is_refused(sweep, space_of, inline):
    sweep(space_of())
    engine = inline()
    with pytest.raises(InputError, match="it holds a sweep: --resume goes on with it"):
        sweep(space_of(), engine=engine)
    assert not engine.ran
    assert sweep(space_of(), resume=True).ran == 0  # the lock was given back


def test_a_stopped_sweep_goes_on_where_it_stopped(sweep, space_of, tmp_path, kept, inline, traces):
    space = space_of({"workload": traces, LANES: [1, 2, 4]})
    sweep(space, tmp_path / "whole")
    ran = 0
    for stop in (1, 2, 3, 1):  # calls: traces count as well
        engine = inline(limit=stop)
        with pytest.raises(KeyboardInterrupt):
            sweep(space, engine=engine, resume=True)
        ran += len(engine.ran)
    last = inline()
    done = sweep(space, engine=last, resume=True)
    assert ran + len(last.ran) == 2 + 6
    assert done.counts == {"done": 6}
    assert kept(tmp_path / "sweep") == kept(tmp_path / "whole")


def test_a_space_that_grew_runs_only_what_is_new(sweep, space_of, tmp_path, kept):
    sweep(space_of({LANES: [2, 4]}))
    bigger = space_of({LANES: [1, 2, 4], "machine.clock_hz": [1e9, 2e9]})
    done = sweep(bigger, resume=True)
    assert (done.counts, done.ran) == ({"done": 6}, 4)
    sweep(bigger, tmp_path / "fresh")
    ours, fresh = kept(tmp_path / "sweep"), kept(tmp_path / "fresh")
    columns = [slice(0, 3), slice(4, None)]  # a point that was there keeps what it was named by
    assert [[p[c] for c in columns] for p in ours] == [[p[c] for c in columns] for p in fresh]


def test_a_space_that_shrank_shows_only_its_points(sweep, space_of, tmp_path, kept):
    sweep(space_of({LANES: [1, 2, 4]}))
    done = sweep(space_of({LANES: [4, 1]}), resume=True)
    assert (done.counts, done.ran) == ({"done": 2}, 0)
    assert [(p[0], p[3][LANES]) for p in kept(tmp_path / "sweep")] == [(0, 4), (1, 1)]
    assert sweep(space_of({LANES: [1, 2, 4]}), resume=True).ran == 0
    assert [p[3][LANES] for p in kept(tmp_path / "sweep")] == [1, 2, 4]


def test_a_stop_while_points_find_their_new_places_loses_none(
    sweep, space_of, tmp_path, kept, monkeypatch
):
    old = [2**i for i in range(8)]
    new = old[::-1]
    sweep(space_of({LANES: old}))
    real, left = Store.number_again, [3]

    def stopping(self, key, number):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(self, key, number)

    monkeypatch.setattr(Store, "number_again", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweep(space_of({LANES: new}), resume=True)
    monkeypatch.undo()
    assert [p[3][LANES] for p in kept(tmp_path / "sweep")] == [128, 64, 32]
    for lanes in (new, old):
        done = sweep(space_of({LANES: lanes}), resume=True)
        assert (done.ran, done.counts) == (0, {"done": 8})
        assert [p[3][LANES] for p in kept(tmp_path / "sweep")] == lanes


def test_an_impossible_machine_is_a_failed_point_and_the_rest_goes_on(
    sweep, space_of, tmp_path, kept
):
    done = sweep(space_of({LANES: [1, 0, 4]}))
    assert done.counts == {"done": 2, "failed": 1}
    _, _, status, assignment, _, reason, row, _ = kept(tmp_path / "sweep")[1]
    assert (status, assignment, row) == ("failed", {LANES: 0}, None)
    assert reason == "TopK lanes must be greater than or equal to 1, not 0"


def test_an_objective_that_is_no_number_fails_the_point_and_keeps_its_row(
    sweep, space_of, tmp_path, kept
):
    space = space_of(
        {"machine": ["spatten", "accllm-u280"]},
        objectives={"latency_ns": "min", "area_mm2": "min"},
    )
    assert sweep(space).counts == {"done": 1, "failed": 1}
    _, _, status, _, _, reason, row, detail = kept(tmp_path / "sweep")[1]
    assert status == "failed"
    assert reason == "area_mm2 must be a finite number to be judged, on accllm-u280 it is missing"
    assert row["latency_ns"] > 0
    assert row["area_mm2"] is None
    assert detail["units"]["unit"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "x", True])
def test_what_is_no_finite_number_is_told(value):
    row = {"machine": "m", "workload": "w", "latency_ns": value}
    told = not_a_number(row, ["latency_ns"])
    assert told is not None
    assert told.startswith("latency_ns must be a finite number to be judged, on m it is ")
    assert not_a_number(row | {"latency_ns": 0.0}, ["latency_ns"]) is None


def test_an_accuracy_that_the_workload_does_not_measure_is_told(sweep, space_of, tmp_path, kept):
    done = sweep(space_of(objectives={"accuracy_top1": "max"}))
    assert done.counts == {"failed": 3}
    assert kept(tmp_path / "sweep")[0][5] == (
        "accuracy_top1 must be measured on small-6, which has no accuracy"
    )


def test_what_failed_is_run_again_only_when_asked(sweep, space_of, monkeypatch):
    monkeypatch.setattr(work, "evaluate", failing)
    axes = {LANES: [1, 2, 4]}
    assert sweep(space_of(axes)).counts == {"done": 2, "failed": 1}
    monkeypatch.undo()
    kept_failed = sweep(space_of(axes), resume=True)
    assert (kept_failed.counts, kept_failed.ran) == ({"done": 2, "failed": 1}, 0)
    mended = sweep(space_of(axes), resume=True, retry_failed=True)
    assert (mended.counts, mended.ran) == ({"done": 3}, 1)


def test_a_point_that_fails_again_and_comes_twice_is_run_once(sweep, space_of, monkeypatch):
    monkeypatch.setattr(work, "evaluate", failing)
    axes = {LANES: [1, 2], "again": {"values": [2, 1], "set": [LANES]}}
    assert sweep(space_of(axes)).counts == {"done": 1, "failed": 1}
    again = sweep(space_of(axes), resume=True, retry_failed=True)
    assert (again.counts, again.ran) == ({"done": 1, "failed": 1}, 1)


def failing(trace, machine, wanted):
    if machine.value_topk.lanes == 2:
        raise ValueError("poison\nin two lines")
    return evaluate(trace, machine, wanted)


def test_a_trace_that_cannot_be_made_fails_its_points_only(sweep, space_of, tmp_path, traces, kept):
    missing = str(tmp_path / "no.trace")
    broken = tmp_path / "broken.trace"
    shutil.copytree(traces[1], broken)
    (broken / "attention.parquet").write_bytes(b"nothing")
    space = space_of({"workload": [traces[0], missing, str(broken)], LANES: [1, 2]})
    assert sweep(space).counts == {"done": 2, "failed": 4}
    reasons = [p[5] for p in kept(tmp_path / "sweep")]
    assert f"trace {missing} must be" in reasons[2]
    assert "attention.parquet" in reasons[4]
    shutil.copytree(traces[1], missing)
    assert sweep(space, resume=True, retry_failed=True).counts == {"done": 4, "failed": 2}


def test_a_trace_that_was_changed_gives_new_points_in_the_same_places(
    sweep, tmp_path, traces, kept
):
    path = tmp_path / "mine.trace"
    shutil.copytree(traces[0], path)
    space = Space.of({"workload": str(path), "axes": {LANES: [1, 2]}})
    sweep(space)
    before = kept(tmp_path / "sweep")
    shutil.rmtree(path)
    shutil.copytree(traces[1], path)
    assert sweep(space, resume=True).counts == {"done": 2}
    after = kept(tmp_path / "sweep")
    assert [p[0] for p in after] == [0, 1]
    assert before[0][6]["cycles"] < after[0][6]["cycles"]
    shutil.rmtree(path)
    shutil.copytree(traces[0], path)
    assert sweep(space, resume=True).ran == 0
    assert kept(tmp_path / "sweep") == before


def test_a_trace_that_was_deleted_is_made_again(sweep, space_of, tmp_path, inline, kept):
    sweep(space_of())
    before = kept(tmp_path / "sweep")
    folder = tmp_path / "sweep" / "traces"
    (made,) = folder.iterdir()
    shutil.rmtree(made)
    (folder / f"{made.name}.partial").mkdir()  # what a kill in the middle of writing leaves
    (folder / "other.trace.partial").mkdir()
    engine = inline()
    done = sweep(space_of({LANES: [1, 2, 4, 8]}), engine=engine, resume=True)
    assert (done.ran, len(engine.ran)) == (1, 2)
    assert [path.name for path in folder.iterdir()] == [made.name]
    assert kept(tmp_path / "sweep")[:3] == before


def test_folders_that_cannot_be_used_are_told(sweep, space_of, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file must be a folder to write in: File exists"):
        sweep(space_of(), tmp_path / "file")
    with pytest.raises(InputError, match="must be a folder to write in: Not a directory"):
        sweep(space_of(), tmp_path / "file" / "below")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(InputError, match="must be new, empty or a sweep's folder, it holds other"):
        sweep(space_of(), tmp_path / "full", resume=True)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_progress_is_told_of_traces_and_points(sweep, space_of, traces):
    told = []
    space = space_of({"workload": traces, LANES: [1, 2]})
    sweep(space, progress=lambda what, done, of: told.append((what, done, of)))
    assert told == [("traces", i, 2) for i in (1, 2)] + [("points", i, 4) for i in (1, 2, 3, 4)]
    told.clear()
    sweep(space, resume=True, progress=lambda what, done, of: told.append((what, done, of)))
    assert told == [("points", i, 4) for i in (1, 2, 3, 4)]


SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
from reports.sweeping.traces import ModelTraces
from sim.sweep import Space, Sweep
from sim.sweep.engine import Answer, answer

class Inline:
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def run(self, stream):
        for item in stream:
            yield item if isinstance(item, Answer) else Answer(
                item.tag, *answer(item.function, item.arguments))

workload, folder, room = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write that finds no room is an error
resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
clocks = {"range": [1e8, 6e9], "count": 40}
space = Space.of({"workload": workload, "axes": {"machine.clock_hz": clocks}})
try:
    print(Sweep(space, ModelTraces(), Path(folder)).run(Inline(), resume=True).counts["done"])
except ValueError as error:
    sys.exit(str(error))
"""


def on_small_disk(folder, trace, room):
    """Run 40 points with files of at most `room` bytes; return (exit code, last line)."""
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, trace, str(folder), str(room)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stderr or done.stdout).strip()


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(tmp_path, traces, sweep, space_of, kept):
    code, told = on_small_disk(tmp_path / "a", traces[0], 200_000)
    assert code == 1
    assert told.startswith(f"{tmp_path / 'a' / 'sweep.sqlite'} must be writable: ")
    assert told.endswith("; what was finished is kept, --resume goes on")
    assert "\n" not in told
    there = kept(tmp_path / "a")
    assert 5 < len(there) < 40
    code, told = on_small_disk(tmp_path / "a", traces[0], 200_000)  # still full
    assert code == 1
    assert kept(tmp_path / "a")[: len(there)] == there
    assert on_small_disk(tmp_path / "a", traces[0], 10**9) == (0, "40")
    assert on_small_disk(tmp_path / "b", traces[0], 10**9) == (0, "40")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_a_disk_that_fills_while_a_trace_is_written_leaves_no_half_trace(tmp_path, traces, kept):
    trace = read_trace(Path(traces[0]))
    long = replace(trace.header, parameters={"note": "x" * 400_000})
    write_trace(replace(trace, header=long), tmp_path / "long.trace")
    code, told = on_small_disk(tmp_path / "a", str(tmp_path / "long.trace"), 300_000)
    assert code == 1
    assert re.fullmatch(
        r".*/a/traces/\w+.trace must be writable: File too large; what was .* goes on", told
    )
    assert not list((tmp_path / "a" / "traces").glob("*.trace"))
    assert kept(tmp_path / "a") == []
    assert on_small_disk(tmp_path / "a", str(tmp_path / "long.trace"), 10**9) == (0, "40")
    assert len(list((tmp_path / "a" / "traces").iterdir())) == 1
    assert len(kept(tmp_path / "a")) == 40
