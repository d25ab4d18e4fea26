"""A space against what its methods, machines and rows have."""

import pytest

from reports.sweeping.traces import ModelTraces
from sim.machines import make_machine
from sim.sweep import Space, Sweep
from sim.sweep.fields import check_columns, check_fields, names_of
from workloads.errors import InputError


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"axes": {"machine.value_topk.lane": [1]}},
            r"axis machine.value_topk.lane must set a field of machine spatten, not "
            r"'machine.value_topk.lane' \(did you mean 'machine.value_topk.lanes'\?\)",
        ),
        ({"axes": {"machine.lanes": [1]}}, r"did you mean 'machine\..*lanes'"),
        ({"set": {"machine.clock": 1}}, r"did you mean 'machine.clock_hz'"),
        (
            {"axes": {"machine": ["dense", "spatten"], "machine.value_topk.lanes": [1]}},
            r"machine dense, not .* \(give the axis when = \{ machine = \['spatten'\] \}\)",
        ),
        (
            {"machine": "spaten"},
            r"machine must be one of .*, not 'spaten' \(did you mean 'spatten'",
        ),
        ({"axes": {"machine": ["dense", "dens"]}}, "did you mean 'dense'"),
        ({"machine": "none.toml"}, "machine file none.toml must be readable"),
        ({"objectives": {"latency": "min"}}, r"objective must be .* \(did you mean 'latency_ns'"),
        ({"constraints": {"area": {"max": 1}}}, r"constraint must be .* \(did you mean 'area_mm2'"),
        ({"objectives": {"machine": "min"}}, "objective must be a number of the rows"),
        ({"method": "spaten"}, "method must be one of .*did you mean 'spatten'"),
        ({"method": None}, "method must be given for a workload that is no trace, there is none"),
        (
            {"workload": "minilm-sentence"},
            "workload must be one of .*did you mean 'minilm-sentences'",
        ),
        (
            {"axes": {"method.token_keep": [1]}},
            r"axis method.token_keep must set a field of method spatten, .*"
            r"\(did you mean 'method.token_keep_ratio'\?\)",
        ),
    ],
)
def test_what_is_not_there_is_told_with_the_nearest_that_is(tmp_path, fields, sentence):
    space = Space.of({"method": "spatten"} | fields)
    with pytest.raises(InputError, match=sentence) as told:
        Sweep(space, ModelTraces(), tmp_path / "x")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "axes",
    [
        {"machine": ["dense", "spatten"], "machine.clock_hz": [1e9, 2e9]},
        {
            "machine": ["dense", "spatten"],
            "machine.value_topk.lanes": {"values": [1], "when": {"machine": "spatten"}},
        },
        {
            "design": {"values": ["dense", "spatten"], "set": ["machine"]},
            "machine.value_topk.lanes": {"values": [1], "when": {"design": ["spatten"]}},
        },
    ],
)
def test_a_field_must_be_there_only_where_it_is_set(axes):
    check_fields(Space.of({"axes": axes}), "machine", make_machine)


def test_a_machine_that_an_axis_gives_only_sometimes_may_be_the_fixed_one_too():
    axis = {"values": ["dense"], "when": {"seed": 1}}
    space = Space.of({"axes": {"seed": [0, 1], "machine": axis}, "machine": "spatten"})
    assert names_of(space, "machine") == ["dense", "spatten"]
    assert names_of(Space.of({"axes": {"machine": ["dense"]}}), "machine") == ["dense"]


def test_any_accuracy_can_be_asked_for_before_it_is_known():
    check_columns(Space(objectives={"accuracy_top1": "max", "dram_transferred_bytes": "min"}))
