"""Machines by name, from TOML, with overrides."""

import pytest

from sim.machines import MACHINES, make_machine
from workloads.errors import InputError


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_describes_itself(name):
    machine = make_machine(name)
    assert machine.name == name
    assert machine.description
    assert all(line.endswith(".") for line in machine.fidelity)
    assert machine.peak_gops > 0
    assert machine.peak_bytes_per_cycle > 0


@pytest.mark.parametrize("name", ["spatten", "dense"])
def test_the_control_has_the_same_multipliers_and_memory(name):
    machine = make_machine(name)
    assert machine.multipliers == 1024
    assert machine.peak_bytes_per_cycle == 512


def test_a_nested_field_is_overridden():
    assert make_machine("spatten", {"value_topk.lanes": "32"}).value_topk.lanes == 32


def test_a_toml_file_is_a_machine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "spatten"\n[flow]\ncascade_topk = "hidden"\n[value_topk]\nlanes = 4\n')
    machine = make_machine(str(path), {"value_topk.depth": "2048"})
    assert machine.flow.cascade_topk == "hidden"
    assert (machine.value_topk.lanes, machine.value_topk.depth) == (4, 2048)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("spaten", {}, r"^machine must be one of spatten, .*, not 'spaten' \(did you mean"),
        ("spatten", {"value_topk.lanes": "6"}, r"^TopK lanes must be a power of 2, not 6$"),
        ("spatten", {"topk.lanes": "8"}, r"^field of SpAtten must be one of .*, not 'topk'"),
        ("spatten", {"clock_hz": "0"}, r"^SpAtten clock_hz must be greater than 0, not '0'$"),
        ("no.toml", {}, r"^machine file no.toml must be readable: No such file or directory$"),
    ],
)
def test_mistakes_are_told_in_one_sentence(name, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        make_machine(name, changes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("base = ", "must be TOML"), ("clock_hz = 1e9", "must name its base machine")],
)
def test_a_broken_toml_file_is_refused(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        make_machine(str(path))
