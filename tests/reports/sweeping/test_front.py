"""Fronts by hand and against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest

from reports.sweeping import front


def test_by_hand() -> None:
    values = np.array([[1, 5], [2, 2], [5, 1], [3, 3], [2, 2], [1, 6]], float)
    assert list(front.on_front(values)) == [True, True, True, False, True, False]


def test_points_without_a_number_are_not_on_it() -> None:
    values = np.array([[np.nan, 0], [1, 1]])
    assert list(front.on_front(values)) == [False, True]
    assert list(front.on_front(np.empty((0, 2)))) == []


@pytest.mark.parametrize("objectives", [1, 2, 4])
def test_equals_the_definition_over_several_blocks(objectives: int) -> None:
    values = np.random.default_rng(0).integers(0, 12, (1200, objectives)).astype(float)
    beaten = [
        bool(((values <= own).all(axis=1) & (values < own).any(axis=1)).any()) for own in values
    ]
    assert list(~front.on_front(values)) == beaten


def test_knee_and_best() -> None:
    values = np.array([[0, 10], [1, 1], [10, 0], [0, 9]], float)
    assert front.knee(values) == 1
    assert front.best(values, 0) == 3  # as good as the first there, nearer elsewhere
    assert front.best(values, 1) == 2


def test_chosen_holds_the_ends_and_the_knee() -> None:
    values = np.array([[float(i), float((40 - i) ** 2)] for i in range(41)])
    found = front.chosen(values, 12)
    assert len(found) == 12
    assert {0, 40, front.knee(values)} <= set(found)
    assert found == sorted(found)
    assert front.chosen(values[:3], 12) == [0, 1, 2]
    assert front.chosen(values[:0], 12) == []
