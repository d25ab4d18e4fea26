"""The table of what SpAtten's sources disagree on, against the machine."""

import json

import pytest

from sim.machines import make_machine
from sim.machines.differences import DIFFERENCES, departures, value_of

OPTIONS = [d for d in DIFFERENCES if d.field is not None]


def test_every_difference_is_listed():
    numbers = {d.number for d in DIFFERENCES}
    assert numbers == {f"G{i}" for i in range(1, 23)} | {"A3"}
    assert all(d.sentence.endswith(".") for d in DIFFERENCES)


@pytest.mark.parametrize("difference", OPTIONS, ids=lambda d: d.field)
def test_its_field_exists_and_has_the_stated_default(difference):
    machine = make_machine("spatten")
    assert machine.has_field(difference.field)
    assert value_of(machine, difference.field) == difference.default


@pytest.mark.parametrize("difference", OPTIONS, ids=lambda d: d.field)
def test_its_alternatives_can_be_set_and_are_told(difference):
    assert difference.alternatives
    for value in difference.alternatives:
        text = ",".join(map(str, value)) if isinstance(value, tuple) else json.dumps(value)
        machine = make_machine("spatten", {difference.field: text.strip('"')})
        assert value_of(machine, difference.field) == value
        assert len(departures(machine)) == 1
        assert difference.number in departures(machine)[0]
        assert departures(machine)[0] in machine.fidelity


def test_the_default_departs_from_nothing():
    assert departures(make_machine("spatten")) == ()
