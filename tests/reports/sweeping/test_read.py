"""Points, what is feasible, what is on the front."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.sweeping.export import all_points, write_tables
from reports.sweeping.read import is_sweep, read_sweep
from sim.sweep.space import Space
from sim.sweep.store import Store
from workloads.errors import InputError


def test_status_feasible_and_front(small: Path) -> None:
    data = read_sweep(small)
    assert list(data.points["status"]) == [*["done"] * 4, "failed", "pruned", *["done"] * 3]
    assert list(data.feasible) == [True] * 4 + [False] * 4 + [True]
    # 3 is the fastest feasible but 8 (1.0 kept on 16 lanes) is faster and better than all of them
    assert list(data.front[data.front].index) == [8]
    assert data.shown == [8]
    assert data.short == {
        "machine.value_topk.lanes": "value_topk.lanes",
        "method.token_keep_ratio": "token_keep_ratio",
    }


def test_bounds_belong_to_what_is_feasible(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {"method": "spatten", "axes": {"seed": [1, 2, 3, 4]}}
    space["constraints"] = {"area_mm2": {"min": 2, "max": 3}}
    folder = make_sweep(tmp_path / "s", space, lambda number, _: {"area_mm2": number + 1.0})
    assert list(read_sweep(folder).feasible) == [False, True, True, False]


def test_axis_that_takes_no_part(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {
        "axes": {
            "method": ["spatten", "dense"],
            "method.token_keep_ratio": {"values": [0.5, 0.9], "when": {"method": "spatten"}},
        }
    }
    data = read_sweep(make_sweep(tmp_path / "s", space, lambda number, _: {}))
    assert list(data.axes["method.token_keep_ratio"]) == [0.5, 0.9, None]
    assert data.assignment(2) == {"method": "dense"}
    assert pd.isna(all_points(data).loc[2, "axis.method.token_keep_ratio"])


def test_tables_hold_every_point(small: Path) -> None:
    data = read_sweep(small)
    write_tables(data)
    csv, parquet = pd.read_csv(small / "points.csv"), pd.read_parquet(small / "points.parquet")
    assert list(csv["number"]) == list(parquet["number"]) == list(range(9))
    assert list(csv["front"]) == [False] * 8 + [True]
    assert csv.loc[4, "reason"] == "lanes must be 3, not 4"
    assert csv.loc[8, "latency_ns"] == 62_500.0
    assert csv.loc[0, "axis.machine.value_topk.lanes"] == 1
    assert Space.read(small / "sweep.toml") == data.space


def test_details_of_points(small: Path) -> None:
    tables = read_sweep(small).details([0, 8])
    assert set(tables["units"]["number"]) == {0, 8}
    assert read_sweep(small).details([4])["units"].empty


def test_no_sweep(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path)
    with pytest.raises(InputError, match="must be a sweep's folder"):
        read_sweep(tmp_path)
    with Store(tmp_path):
        pass
    with pytest.raises(InputError, match="must hold a sweep with a point"):
        read_sweep(tmp_path)
