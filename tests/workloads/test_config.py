"""Configurations: one sentence for every mistake, whether it comes from Python or the shell."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from workloads.config import Config, parse_settings, unknown_name
from workloads.errors import InputError


class EngineConfig(Config):
    lanes: Annotated[int, Field(ge=1)] = 16
    depth: int = 4
    mode: Literal["fast", "slow"] = "fast"

    @model_validator(mode="after")
    def _power_of_two(self) -> Self:
        if self.lanes & (self.lanes - 1):
            raise ValueError(f"Engine lanes must be a power of 2, not {self.lanes}")
        return self


class MachineConfig(Config):
    name: str
    clock_hz: int = 10**9
    engine: EngineConfig = EngineConfig()


def test_override_reaches_nested_fields_and_leaves_the_original() -> None:
    machine = MachineConfig(name="a")
    changed = machine.override({"engine.lanes": "32", "engine.depth": 2, "clock_hz": "500"})
    assert changed == MachineConfig(name="a", clock_hz=500, engine=EngineConfig(lanes=32, depth=2))
    assert machine == MachineConfig(name="a")
    assert machine.override({}) == machine


def test_has_field() -> None:
    machine = MachineConfig(name="a")
    assert machine.has_field("engine")
    assert machine.has_field("engine.lanes")
    assert not machine.has_field("engine.colour")
    assert not machine.has_field("name.first")
    assert not machine.has_field("colour")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lanes": 0}, "Engine lanes must be greater than or equal to 1, not 0"),
        ({"lanes": "many"}, "Engine lanes must be an integer, not 'many'"),
        ({"depth": 1.5}, "Engine depth must be an integer, got a number with a fractional part, "
                         "not 1.5"),
        ({"lanes": 6}, "Engine lanes must be a power of 2, not 6"),
        ({"mode": "medium"}, "Engine mode must be 'fast' or 'slow', not 'medium'"),
        ({"lane": 3}, "field of Engine must be one of lanes, depth, mode, not 'lane' "
                      "(did you mean 'lanes'?)"),
    ],
)  # fmt: skip
def test_mistake_is_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        EngineConfig(**values)
    assert str(error.value) == sentence


def test_missing_field() -> None:
    with pytest.raises(InputError, match=r"^Machine name must be given$"):
        MachineConfig()


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("colour", 1, "field of Machine must be one of name, clock_hz, engine, not 'colour'"),
        ("engine.lane", 1, "field of Engine must be one of lanes, depth, mode, not 'lane' "
                           "(did you mean 'lanes'?)"),
        ("engine.lanes", "6", "Engine lanes must be a power of 2, not 6"),
        ("clock_hz.low", 1, "Machine clock_hz must be a group to have 'low'"),
    ],
)  # fmt: skip
def test_bad_override_is_one_sentence(path: str, value: object, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        MachineConfig(name="a").override({path: value})
    assert str(error.value) == sentence


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EngineConfig().lanes = 3  # type: ignore[misc]


def test_unknown_name_without_a_near_one() -> None:
    assert unknown_name("machine", "zzz", {"a3": 1, "spatten": 2}) == (
        "machine must be one of a3, spatten, not 'zzz'"
    )


def test_settings_from_the_shell() -> None:
    assert parse_settings(["topk.lanes=32", "name=a=b", "empty="]) == {
        "topk.lanes": "32", "name": "a=b", "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["lanes", "=3", ""])
def test_bad_setting(text: str) -> None:
    with pytest.raises(InputError, match=f"^a setting must look like name=value, not '{text}'$"):
        parse_settings([text])
