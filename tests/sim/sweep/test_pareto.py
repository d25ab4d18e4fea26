"""Fronts, ranks and hypervolumes, against definitions written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sim.sweep.pareto import (
    dominates,
    front,
    front_within,
    hypervolume,
    ranks,
    spread,
    spread_within,
)
from tests.sim.sweep.spaces import hide
from workloads.errors import InputError

SMALL = arrays(
    np.float64,
    st.tuples(st.integers(0, 40), st.integers(1, 4)),
    elements=st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf, np.nan]),
)


def by_definition(values: Any, directions: list[str]) -> list[bool]:
    """Compare every point with every other one."""
    costs = np.where([d == "min" for d in directions], values, -values)
    return [
        not np.isnan(mine).any() and not any(dominates(other, mine) for other in costs)
        for mine in costs
    ]


def peeled(values: Any, directions: list[str]) -> list[int]:
    """Take away front after front."""
    found = np.full(len(values), -1)
    left = ~np.isnan(values).any(axis=1)
    number = 0
    while left.any():
        rows = np.flatnonzero(left)
        on = rows[by_definition(values[rows], directions)]
        found[on], left[on] = number, False
        number += 1
    found[found < 0] = number
    return found.tolist()


@settings(max_examples=200, deadline=None)
@given(values=SMALL, seed=st.integers(0, 15))
def test_front_and_ranks_are_what_they_are_defined_as(values, seed):
    directions = ["max" if seed >> column & 1 else "min" for column in range(values.shape[1])]
    assert front(values, directions).tolist() == by_definition(values, directions)
    assert ranks(values, directions).tolist() == peeled(values, directions)


@settings(max_examples=100, deadline=None)
@given(values=SMALL, seed=st.integers(0, 15), data=st.data())
def test_a_front_within_groups_is_the_front_of_each_alone(values, seed, data):
    directions = ["max" if seed >> column & 1 else "min" for column in range(values.shape[1])]
    size = len(values)
    groups = data.draw(
        st.lists(st.sampled_from(["a", ("b", 1), None]), min_size=size, max_size=size)
    )
    found = front_within(values, directions, groups)
    for group in set(groups):
        own = [at for at in range(size) if groups[at] == group]
        assert found[own].tolist() == by_definition(values[own], directions)
    assert front_within(values, directions, [()] * size).tolist() == by_definition(
        values, directions
    )


def test_groups_must_be_one_a_point():
    with pytest.raises(InputError, match="groups must be 2, one a point, not 1"):
        front_within([[1], [2]], ["min"], ["a"])


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_blocks_of_a_large_set_agree_with_the_definition(objectives):
    values = np.random.default_rng(objectives).integers(0, 12, (700, objectives)).astype(float)
    values[:, -1] += values[:, 0] == 3  # neither sorted nor independent
    directions = ["min", "max", "min", "max"][:objectives]
    assert front(values, directions).tolist() == by_definition(values, directions)


def test_equal_points_are_all_on_the_front():
    assert front([[1, 2], [1, 2], [2, 2]], ["min", "min"]).tolist() == [True, True, False]


def test_nan_is_never_on_the_front_and_hides_nothing():
    assert front([[np.nan, 0], [1, 1]], ["min", "min"]).tolist() == [False, True]


def test_no_points():
    assert front(np.zeros((0, 3)), ["min"] * 3).tolist() == []
    assert ranks(np.zeros((0, 3)), ["min"] * 3).tolist() == []
    assert hypervolume(np.zeros((0, 2)), ["min"] * 2, [1, 1]) == 0


def test_ten_thousand_points_all_of_them_on_the_front():
    """The worst case: nothing is ever taken away."""
    rng = np.random.default_rng(0)
    values = -np.log(rng.random((10_000, 4)))
    values /= values.sum(axis=1, keepdims=True)
    assert front(values, ["min"] * 4).sum() > 9_990


def test_hypervolume_by_hand():
    """Two rectangles, 2 x 1 and 1 x 2, that share 1 x 1; a third is beyond the reference."""
    assert hypervolume([[1, 2], [2, 1], [9, 0]], ["min", "min"], [3, 3]) == 3
    assert hypervolume([[-1, 2], [-2, 1]], ["max", "min"], [-3, 3]) == 3
    assert hypervolume([[np.nan, 0], [1, 2]], ["min", "min"], [3, 3]) == 2


def test_spread_goes_rank_by_rank_and_far_apart_within():
    """The ends of the front, then its middle; of the next rank the best, then the far one."""
    ahead = [[1.0, 16.0], [2.0, 8.0], [4.0, 4.0], [8.0, 2.0], [16.0, 1.0]]
    behind = [[32.0, 2.0], [3.0, 32.0], [33.0, 33.0]]
    order = spread(np.array(ahead + behind), 8)
    assert order[:3] == [0, 4, 2]
    assert set(order[3:5]) == {1, 3}
    assert set(order[5:7]) == {5, 6}
    assert order[7] == 7


def test_spread_takes_what_is_unknown_for_the_best():
    assert spread(np.array([[1.0, 1.0], [-np.inf, -np.inf], [2.0, 2.0]]), 3) == [1, 0, 2]
    assert spread(np.full((3, 2), -np.inf), 3) == [0, 1, 2]
    assert spread(np.zeros((0, 2)), 3) == []


def test_groups_take_turns_each_in_its_own_order():
    """All of group a dominate all of group b; c has one point, and then no more turns."""
    costs = np.array([[2.0], [1.0], [40.0], [30.0], [10.0], [3.0]])
    groups = ["a", "a", "b", "b", "c", "a"]
    assert spread_within(costs, 6, groups) == [1, 3, 4, 0, 2, 5]
    assert spread_within(costs, 6, [0] * 6) == spread(costs, 6) == [1, 0, 5, 4, 3, 2]
    assert spread_within(np.zeros((0, 2)), 3, []) == []


@pytest.mark.parametrize(
    ("values", "directions", "sentence"),
    [
        ([[1, 2]], ["min"], r"values must be \(points, 1\), one column a direction, not \(1, 2\)"),
        ([1, 2], ["min"], r"values must be \(points, 1\), one column a direction, not \(2,\)"),
        ([[1]], ["least"], "a direction must be min or max, not 'least'"),
    ],
)
def test_what_does_not_fit_is_named(values, directions, sentence):
    with pytest.raises(InputError, match=sentence):
        front(values, directions)


def test_without_moocore_it_is_named(monkeypatch):
    hide(monkeypatch, "moocore")
    with pytest.raises(InputError, match=r"pip install 'prunesim\[dse\]'"):
        hypervolume([[1, 1]], ["min", "min"], [2, 2])
