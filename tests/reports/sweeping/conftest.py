"""Sweeps made up in a store: no model, no simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reports.sweeping.page import write_report
from sim.sweep.evaluate import LEFT_OUT, details
from sim.sweep.space import Space
from sim.sweep.store import Store, Stored
from tests.reports.conftest import fake_result

Values = Mapping[str, Any]
Rows = Callable[[int, Values], Values | str]


@pytest.fixture(scope="session")
def make_sweep() -> Callable[..., Path]:
    """Return a function that writes a sweep's folder.

    Its arguments: folder, space as plain data, and a function from (number, assignment) to the
    columns of the row that are not the usual ones, or to the reason why the point failed.
    """

    def make(folder: Path, space: Values, row: Rows) -> Path:
        whole = Space.of(space)
        result = fake_result("spatten", "spatten")
        usual = {name: value for name, value in result.row.items() if name not in LEFT_OUT}
        detail = details(result)
        folder.mkdir(parents=True, exist_ok=True)
        with Store(folder) as store:
            store.note("space", json.loads(whole.model_dump_json()))
            store.add_trace("t" * 32, {"workload": "w", "method": "spatten"}, 1.5, None)
            store._db.execute("begin")  # one commit: thousands of points in a second
            for number, assignment in enumerate(whole.assignments()):
                own = row(number, assignment)
                point = Stored(f"k{number}", number, "done", assignment, "t" * 32, seconds=0.01)
                if isinstance(own, str):
                    kept = {"status": "pruned" if "bound" in own else "failed", "reason": own}
                else:
                    kept = {"row": {**usual, **own}, "detail": detail}
                store.add(Stored(**{**vars(point), **kept}))
            store._db.execute("commit")
        return folder

    return make


SMALL: dict[str, Any] = {
    "title": "small",
    "method": "spatten",
    "axes": {"machine.value_topk.lanes": [1, 4, 16], "method.token_keep_ratio": [0.5, 0.75, 1.0]},
    "objectives": {"latency_ns": "min", "accuracy_spearman": "max"},
    "constraints": {"area_mm2": {"max": 3.0}},
}


def small_row(number: int, assignment: Values) -> Values | str:
    """More lanes: faster and larger; more tokens: slower and better. One fails, one is pruned."""
    lanes, kept = assignment["machine.value_topk.lanes"], assignment["method.token_keep_ratio"]
    if number == 4:
        return "lanes must be 3, not 4"
    if number == 5:
        return "bound: latency is at least 9"
    return {
        "latency_ns": 1e6 * kept / lanes,
        "accuracy_spearman": kept,
        "area_mm2": 2.0 if lanes < 16 else 4.0 - kept,
    }


@pytest.fixture(scope="session")
def small(make_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine points: 4 failed, 5 pruned, 6 and 7 (16 lanes, keep below 1) infeasible."""
    return make_sweep(tmp_path_factory.mktemp("sweeps") / "small", SMALL, small_row)


@pytest.fixture(scope="session")
def small_page(small: Path) -> Path:
    """The page of `small`, drawn once."""
    return write_report(small)
