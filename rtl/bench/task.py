"""What a bench is asked to do, and the layouts of the design's streams."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rtl.build import BENCH_VARIABLE
from rtl.registry import find_block


@dataclass(frozen=True)
class Task:
    """The block under test."""

    config: Any
    component: Any
    seed: int
    given: str = ""  # file of a test that needs one

    @cached_property
    def layouts(self) -> dict[str, Any]:
        """Stream -> layout of its payload."""
        members = self.component.signature.members
        streams = (name for name in members if members[name].is_signature)
        return {name: members[name].signature.members["payload"].shape for name in streams}

    def random(self, salt: str) -> np.random.Generator:
        """Return a generator that differs from test to test."""
        return np.random.default_rng([self.seed, *salt.encode()])

    def pack(self, stream: str, values: Mapping[str, Any]) -> int:
        """Return an item of a stream as its payload's bits."""
        return pack(self.layouts[stream], values)

    def unpack(self, stream: str, bits: int) -> dict[str, Any]:
        """Return a payload's fields."""
        found: dict[str, Any] = unpack(self.layouts[stream], bits)
        return found


def read_task() -> Task:
    """Return the task from the environment."""
    given = json.loads(os.environ[BENCH_VARIABLE])
    block = find_block(given["block"])
    config = block.make_config({})
    config = type(config)(**given["config"])
    return Task(config, block.make(config), given["seed"], given.get("given", ""))


def pack(shape: Any, value: Any) -> int:
    """Return a value as bits: a mapping for a structure, a sequence for an array, an integer."""
    from amaranth.lib import data

    if isinstance(shape, data.StructLayout):
        assert set(value) == {str(name) for name, _ in shape}, "a field is missing or unknown"
        return sum(pack(field.shape, value[name]) << field.offset for name, field in shape)
    if isinstance(shape, data.ArrayLayout):
        assert isinstance(value, Sequence | np.ndarray)
        assert len(value) <= shape.length
        return sum(pack(shape.elem_shape, item) << shape[i].offset for i, item in enumerate(value))
    width = _width(shape)
    number = int(value)
    low = -(1 << (width - 1)) if _signed(shape) else 0
    assert low <= number < low + (1 << width), f"{number} does not fit {shape}"
    return number & ((1 << width) - 1)


def unpack(shape: Any, bits: int) -> Any:
    """Return the value that `pack` made these bits of."""
    from amaranth.lib import data

    if isinstance(shape, data.StructLayout):
        return {name: unpack(field.shape, _cut(bits, field)) for name, field in shape}
    if isinstance(shape, data.ArrayLayout):
        return [unpack(shape.elem_shape, _cut(bits, shape[i])) for i in range(shape.length)]
    width = _width(shape)
    number = bits & ((1 << width) - 1)
    return number - (1 << width) if _signed(shape) and number >> (width - 1) else number


def _cut(bits: int, field: Any) -> int:
    return (bits >> field.offset) & ((1 << field.width) - 1)


def _width(shape: Any) -> int:
    from amaranth.hdl import Shape

    return Shape.cast(shape).width


def _signed(shape: Any) -> bool:
    from amaranth.hdl import Shape

    return Shape.cast(shape).signed
