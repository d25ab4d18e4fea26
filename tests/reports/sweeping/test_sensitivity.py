"""Shares of variance by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from reports.sweeping.read import read_sweep
from reports.sweeping.sensitivity import by_value, eta_squared, grouped, main_effects, scaled


def test_by_hand() -> None:
    values = pd.Series([1.0, 3.0, 5.0, 7.0])  # mean 4, whole 9 + 1 + 1 + 9 = 20
    assert eta_squared(values, pd.Series(["a", "a", "b", "b"])) == pytest.approx(16 / 20)
    assert eta_squared(values, pd.Series(["a", "b", "b", "a"])) == 0
    assert math.isnan(eta_squared(pd.Series([2.0, 2.0]), pd.Series(["a", "b"])))


def test_additive_axes_share_the_variance(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    space = {
        "method": "spatten",
        "axes": {"seed": [0, 1], "machine.value_topk.lanes": [1, 2, 3], "limit": [4, 5]},
    }

    def row(number: int, own: dict[str, int]) -> dict[str, float]:
        lanes, seed = own["machine.value_topk.lanes"], own["seed"]
        # variances: seed 3 wide of two values, 9/4; lanes 1 wide of three, 2/3
        return {"latency_ns": 10.0 + 3 * seed + lanes, "energy_pj": 10.0**lanes}

    found = main_effects(read_sweep(make_sweep(tmp_path / "s", space, row)))
    share = found.set_index(["axis", "objective"])["share"]
    whole = 9 / 4 + 2 / 3
    assert share["seed", "latency_ns"] == pytest.approx(9 / 4 / whole)
    assert share["machine.value_topk.lanes", "latency_ns"] == pytest.approx(2 / 3 / whole)
    assert share["limit", "latency_ns"] == pytest.approx(0, abs=1e-12)
    assert share["machine.value_topk.lanes", "energy_pj"] == pytest.approx(1)
    assert set(found.loc[found["objective"] == "energy_pj", "scale"]) == {"log"}


def test_scale() -> None:
    assert scaled(pd.Series([1.0, 10.0]))[1] == "linear"
    assert list(scaled(pd.Series([1.0, 100.0]))[0]) == [0, 2]
    assert scaled(pd.Series([0.0, 100.0]))[1] == "linear"


def test_many_numbers_are_cut_into_groups() -> None:
    groups = grouped(pd.Series(range(80)))
    assert groups is not None
    assert list(groups.value_counts()) == [10] * 8
    assert grouped(pd.Series([0.1 * i for i in range(20)])).nunique() == 5  # type: ignore[union-attr]


def test_too_few_points_are_not_judged() -> None:
    assert grouped(pd.Series(["a", "b", "c"])) is None
    assert grouped(pd.Series(["a", "b", "c"]), alone=True) is not None
    assert grouped(pd.Series([True, False, True, False])) is not None


def test_means_by_value(small: Path) -> None:
    found = by_value(read_sweep(small), "machine.value_topk.lanes")
    assert list(found["value"]) == ["1", "4", "16"]
    assert list(found["points"]) == [3, 1, 3]
    assert found.loc[0, "latency_ns_mean"] == 0.75e6
    assert found.loc[0, "latency_ns_low"] == 0.625e6
