"""Axes and grids: which values, how many points, which samples."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.sweep.axes import LARGEST, Axis, grid, sample, size
from workloads.errors import InputError


@pytest.mark.parametrize(
    ("axis", "points"),
    [
        ({"values": [3, 1, 3, 2]}, [3, 1, 2]),
        ({"values": ["a", None, True, 0.5]}, ["a", None, True, 0.5]),
        ({"range": [1, 8], "count": 3}, [1, 4, 8]),
        ({"range": [1, 3], "count": 9}, [1, 2, 3]),
        ({"range": [1, 8], "step": 3}, [1, 4, 7]),
        ({"range": [0, 1], "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"range": [0.1, 0.3], "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"range": [0.0, 1.0], "count": 1}, [0.0]),
        ({"log": [128, 1024], "count": 4}, [128, 256, 512, 1024]),
        ({"log": [0.01, 1.0], "count": 3}, [0.01, 0.1, 1.0]),
    ],
)
def test_the_values_of_an_axis(axis, points):
    found = Axis(**axis).points("x", 0)
    assert found == points
    assert [type(value) for value in found] == [type(value) for value in points]


def test_random_values_depend_on_seed_and_name_alone():
    axis = Axis(uniform=(1, 1000), count=20)
    first = axis.points("x", 0)
    assert first == axis.points("x", 0)
    assert first == sorted(set(first))
    assert all(isinstance(value, int) and 1 <= value <= 1000 for value in first)
    assert axis.points("x", 1) != first
    assert axis.points("y", 0) != first
    real = Axis(uniform=(0.0, 1.0), count=20).points("x", 0)
    assert len(real) == 20
    assert all(0 <= value <= 1 for value in real)


def test_random_whole_numbers_are_equally_likely_to_their_ends():
    drawn = Counter(Axis(uniform=(0, 2), count=1).points("x", seed)[0] for seed in range(600))
    assert min(drawn[value] for value in (0, 1, 2)) > 150


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [
        ({}, "one of values, range, log and uniform, not none"),
        ({"values": [1], "log": [1, 2]}, "not values and log"),
        ({"values": []}, "at least 1, there are none"),
        ({"values": [1.0, float("nan")]}, "must be finite, one is nan"),
        ({"range": [1, 2]}, "range must have count, it has none"),
        ({"log": [1, 2]}, "log must have count"),
        ({"log": [1, 2], "step": 1}, "log must have count"),
        ({"range": [2, 1], "count": 2}, "must rise, it is 2 to 1"),
        ({"range": [1, float("inf")], "count": 2}, "must rise, it is 1 to inf"),
        ({"log": [0, 1], "count": 2}, "must start above 0, not at 0"),
        ({"range": [0, 1e9], "step": 1}, "at most 1,000,000 values, it has 1,000,000,001"),
        ({"range": [1, 2], "count": 0}, "count must be greater than or equal to 1, not 0"),
        ({"range": [1, 2], "step": 0}, "step must be greater than 0"),
        ({"values": [1], "wehn": {}}, "did you mean 'when'"),
    ],
)
def test_what_is_no_axis_is_told(axis, sentence):
    with pytest.raises(InputError, match="(?s)" + sentence):
        Axis(**axis)


def test_an_axis_takes_part_only_where_its_condition_holds():
    axes = {
        "machine": Axis(values=["a", "b", "c"]),
        "lanes": Axis(values=[1, 2], when={"machine": ["a", "b"]}),
        "rows": Axis(values=[5, 6], when={"machine": "a", "lanes": 2}),
    }
    assert list(grid(axes, {}, 0)) == [
        {"machine": "a", "lanes": 1},
        {"machine": "a", "lanes": 2, "rows": 5},
        {"machine": "a", "lanes": 2, "rows": 6},
        {"machine": "b", "lanes": 1},
        {"machine": "b", "lanes": 2},
        {"machine": "c"},
    ]


def test_a_condition_may_name_a_fixed_value_or_a_field_that_an_axis_sets():
    axes = {
        "design": Axis(values=["a", "b"], set=["machine"]),
        "lanes": Axis(values=[1, 2], when={"machine": "b"}),
        "rows": Axis(values=[3, 4], when={"method": "spatten"}),
    }
    found = list(grid(axes, {"machine": "z", "method": "dense"}, 0))
    assert found == [{"design": "a"}, {"design": "b", "lanes": 1}, {"design": "b", "lanes": 2}]
    assert size(axes, {"machine": "z", "method": "spatten"}, 0) == 6


@st.composite
def spaces(draw):
    """Draw up to 4 axes with up to 3 values, each with conditions on those before it."""
    axes = {}
    for name in "abcd"[: draw(st.integers(0, 4))]:
        when = {
            other: draw(st.one_of(st.integers(0, 2), st.lists(st.integers(0, 2), max_size=2)))
            for other in [*axes, "fixed"]
            if draw(st.booleans())
        }
        fields = draw(st.sampled_from([None, ["fixed"], ["fixed", "other"]]))
        values = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
        axes[name] = Axis(values=values, when=when, set=fields)
    return axes


@given(spaces(), st.integers(0, 2), st.integers(1, 90), st.integers(0, 5))
@settings(max_examples=300)
def test_size_counts_the_grid_and_samples_come_from_it(axes, fixed, count, seed):
    points = list(grid(axes, {"fixed": fixed}, 0))
    assert size(axes, {"fixed": fixed}, 0) == len(points)
    assert len({tuple(point.items()) for point in points}) == len(points)
    drawn = list(sample(axes, {"fixed": fixed}, seed, count))
    assert len(drawn) == min(count, len(points))
    places = [points.index(point) for point in drawn]
    assert places == sorted(set(places))


def test_a_sample_is_the_same_again_and_another_with_another_seed():
    axes = {name: Axis(values=[*range(10)]) for name in "abc"}
    first = list(sample(axes, {}, 1, 20))
    assert first == list(sample(axes, {}, 1, 20))
    assert first != list(sample(axes, {}, 2, 20))


def test_all_points_are_equally_likely_in_a_sample():
    axes = {"a": Axis(values=[0, 1]), "b": Axis(values=[*range(9)], when={"a": 1})}
    drawn = Counter(
        tuple(point.items()) for seed in range(1000) for point in sample(axes, {}, seed, 1)
    )
    assert len(drawn) == 10
    assert min(drawn.values()) > 50


@pytest.mark.parametrize("count", [16, 40])
def test_a_huge_space_is_counted_and_sampled_without_walking_through_it(count):
    axes = {
        f"axis{i}": Axis(range=(1, 10), count=10, when={f"axis{i - 1}": [1, 2, 3]} if i else {})
        for i in range(count)
    }
    expected = 1
    for _ in range(count):
        expected = 3 * expected + 7  # 7 of 10 values end the chain
    assert size(axes, {}, 0) == expected
    first = list(itertools.islice(grid(axes, {}, 0), 5))
    assert [point[f"axis{count - 1}"] for point in first] == [1, 2, 3, 4, 5]
    drawn = list(sample(axes, {}, 0, 500))
    assert len({tuple(point.items()) for point in drawn}) == 500
    assert drawn == list(sample(axes, {}, 0, 500))
    for point in drawn:
        for i in range(1, count):
            before = point.get(f"axis{i - 1}")
            assert (f"axis{i}" in point) == (before in (1, 2, 3))


def test_the_size_of_a_billion_points_is_exact():
    axes = {name: Axis(range=(1, 1000), count=1000) for name in "abc"}
    assert size(axes, {}, 0) == 10**9 > LARGEST
    conditional = axes | {"d": Axis(values=[1, 2], when={"a": 7, "b": [1, 2]})}
    assert size(conditional, {}, 0) == 10**9 + 2 * 1000
    assert next(grid(conditional, {}, 0)) == {"a": 1, "b": 1, "c": 1}
