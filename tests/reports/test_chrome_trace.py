"""Timelines are valid Chrome traces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

from reports.chrome_trace import chrome_trace, write_chrome_trace
from sim.result import Result

Make = Callable[..., Result]


def test_every_event_is_complete(fake_results: list[Result], tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    write_chrome_trace(fake_results, path)
    events = json.loads(path.read_text())["traceEvents"]
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for event in events:
        assert event["ph"] in ("X", "M")
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            assert (event["pid"], event["tid"]) in named
    processes = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert processes[0] == "dense trace on spatten"
    assert len(processes) == len(fake_results)


def test_time_is_in_microseconds_of_the_clock(make_result: Make) -> None:
    result = make_result("dense", "spatten")
    result.row["clock_hz"] = 500e6
    events = [e for e in chrome_trace([result])["traceEvents"] if e["ph"] == "X"]
    first = next(e for e in events if e["name"] == "K 0")
    assert first["ts"] == 0.0
    assert first["dur"] == 0.2  # 100 cycles of 2 ns


def test_operations_that_overlap_get_threads_of_their_own(make_result: Make) -> None:
    events = chrome_trace([make_result("dense", "spatten")])["traceEvents"]
    spans: dict[int, list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            spans.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for own in spans.values():
        own.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(own))
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names[:2] == ["fetch", "fetch (2)"]
    assert len(names) == 4
