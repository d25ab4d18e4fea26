"""Spaces from Python and TOML, and what is told of those that are none."""

import itertools

import pytest

from sim.sweep import Space
from workloads.errors import InputError

WHOLE = """
title = "top-k"
method = "spatten"
limit = 4
[set]
"machine.width_bits" = 8
[axes]
"method.token_keep_ratio" = [0.6, 0.85]
machine = ["spatten", "dense"]
rows = { set = ["machine.key_buffer.rows"], log = [128, 512], count = 3 }
"machine.value_topk.lanes" = { values = [1, 4], when = { machine = "spatten" } }
[objectives]
latency_ns = "min"
accuracy_spearman = "max"
[constraints]
area_mm2 = { max = 9 }
"""


def test_a_file_describes_a_space(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(WHOLE)
    space = Space.read(path)
    assert space.title == "top-k"
    assert space.objectives == {"latency_ns": "min", "accuracy_spearman": "max"}
    assert space.constraints["area_mm2"].max == 9
    points = list(space.assignments())
    assert space.size() == space.check_size(large=False) == len(points) == 2 * 3 * (2 + 1)
    assert points[0] == {
        "method.token_keep_ratio": 0.6,
        "machine": "spatten",
        "rows": 128,
        "machine.value_topk.lanes": 1,
    }
    assert Space(**space.model_dump()) == space


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("axes = [", r"sweep file .*x.toml must be TOML: "),
        ("titel = 'x'", "did you mean 'title'"),
        ("[axes]\nmachin = ['a']", "axis must be one of .*not 'machin' .did you mean 'machine'"),
        ("[axes]\nlanes = [1]", "machine.FIELD, not 'lanes'"),
        ("[axes]\nx = {values = [1], set = ['methode.y']}", "not 'methode.y'"),
        (
            "[axes]\nmachine = []",
            "axis machine: values of an axis must be at least 1, there are none",
        ),
        ("[axes]\nmachine = 3", "axes.machine must be "),
        ("[axes]\nlimit = [1, 0]", "limit must be a whole number, at least 1, not 0"),
        ("[axes]\nlimit = [1.5]", "limit must be a whole number, at least 1, not 1.5"),
        ("[axes]\nseed = ['a']", "seed must be a whole number, at least 0, not 'a'"),
        ("[axes]\nmachine = [1]", "machine must be a name, not 1"),
        (
            "[axes]\nmachine = {values = ['dense'], when = {seed = 1, workloat = 'x'}}",
            "axis machine must depend on what stands before it, when names 'workloat'",
        ),
        (
            "within = ['machin']\n[axes]\nmachine = ['dense']",
            "within must be one of machine, not 'machin' .did you mean 'machine'",
        ),
        (
            "within = ['bits']\n[axes]\nkv_bits = {values = [1], set = ['machine.kv.bits']}",
            "within must be one of kv_bits, machine.kv.bits, not 'bits' .did you mean 'kv_bits'",
        ),
        # what has a value, but no axis
        (
            "within = ['workload.context']\n[set]\n'workload.context' = 8\n[axes]\nseed = [1, 2]",
            "within must be one of seed, not 'workload.context'",
        ),
        ("within = ['seed']", "within must name what an axis sets, there is none for 'seed'"),
        ("within = 'seed'\n[axes]\nseed = [1, 2]", "Space within must be a list, not 'seed'"),
        (
            "within = ['seed']\n[axes]\nseed = [1, 2]\n[search]",
            "within must be left out with sampler nsga2, .*: use sampler = 'bounds', or a sweep",
        ),
        (
            "within = ['seed']\n[axes]\nseed = [1, 2]\n[search]\nsampler = 'tpe'",
            "within must be left out with sampler tpe",
        ),
        ("[objectives]", "objectives must be at least 1, there is none"),
        ("[objectives]\ncycles = 'least'", "objectives.cycles must be 'min' or 'max'"),
        ("[constraints]\ncycles = {}", "must have min or max, it has neither"),
        ("[constraints]\ncycles = {min = 2, max = 1}", "min must be at most its max, 2 is above 1"),
        ("sample = 0", "sample must be greater than or equal to 1"),
    ],
)
def test_a_file_that_is_no_space_is_told(tmp_path, text, sentence):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as told:
        Space.read(path)
    assert "\n" not in str(told.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no.toml must be readable: No such file"):
        Space.read(tmp_path / "no.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="must be readable: it is not UTF-8"):
        Space.read(tmp_path / "x.toml")


def test_a_condition_that_can_never_hold_leaves_an_axis_out_but_no_axes_are_one_point():
    never = {"values": [1, 2], "when": {"machine": []}}
    assert Space.of({"axes": {"machine.x": never}}).check_size(large=False) == 1
    assert Space().check_size(large=False) == 1


def test_a_million_points_must_be_asked_for():
    axes = {f"machine.{name}": {"range": [1, 1000], "count": 1000} for name in "abc"}
    space = Space.of({"axes": axes})
    with pytest.raises(
        InputError, match="at most 1,000,000 points unless --yes is given, it has 1,"
    ):
        space.check_size(large=False)
    assert space.check_size(large=True) == 10**9
    assert [p["machine.c"] for p in itertools.islice(space.assignments(), 5)] == [1, 2, 3, 4, 5]
    drawn = Space.of({"axes": axes, "sample": 100})
    assert drawn.check_size(large=False) == 100 == len(list(drawn.assignments()))


def test_groups_are_of_axes_and_of_what_they_set():
    space = Space.of(
        {
            "method": "dense",
            "axes": {
                "bits": {"values": [4, 8], "set": ["machine.kv.bits"]},
                "method": ["snapkv"],
                "method.keep_ratio": {"values": [0.5], "when": {"bits": 8}},
            },
            "within": ["machine.kv.bits", "method", "method.keep_ratio"],
        }
    )
    assert [space.group(a) for a in space.assignments()] == [
        (4, "snapkv", None),
        (8, "snapkv", 0.5),
    ]
    fixed = Space.of(
        {
            "set": {"machine.x": 1},
            "axes": {
                "machine": ["a", "b"],
                "machine.x": {"values": [2, 3], "when": {"machine": "b"}},
            },
            "within": ["machine.x"],
        }
    )
    assert [fixed.group(a) for a in fixed.assignments()] == [(1,), (2,), (3,)]
    assert Space.of({"axes": {"seed": [1, 2]}}).group({"seed": 1}) == ()
