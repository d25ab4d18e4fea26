"""All blocks: name -> config, component and bench. Nothing heavy is imported until one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from workloads.config import Config, unknown_name
from workloads.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Block:
    """A component, its configuration and its bench."""

    name: str
    description: str
    config: str  # module:class
    component: str  # module:class
    sizes: tuple[Mapping[str, Any], ...]  # settings that are verified, the default first
    proven: tuple[str, ...] = field(default=())  # properties shown by bounded model checking

    @property
    def bench(self) -> str:
        """Module of cocotb tests."""
        return f"rtl.bench.{self.name}"

    def make_config(self, settings: Mapping[str, Any]) -> Config:
        """Return the configuration with some fields changed.

        Raises:
            InputError: an unknown field or an impossible value.
        """
        config: Config = _load(self.config)()
        return config.override(settings)

    def make(self, config: Config) -> Any:
        """Return the component.

        Raises:
            InputError: a combination that the component does not have.
        """
        return _load(self.component)(config)


def find_block(name: str) -> Block:
    """Return a block by name.

    Raises:
        InputError: no such block.
    """
    if name not in BLOCKS:
        raise InputError(unknown_name("block", name, BLOCKS))
    return BLOCKS[name]


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


_ALL = (
    Block(
        name="comparator",
        description="comparator array: the elements of a row against a pivot",
        config="sim.blocks.comparator:ComparatorConfig",
        component="rtl.comparator:ComparatorArray",
        sizes=({}, {"lanes": 1, "width_bits": 1}, {"lanes": 7, "width_bits": 9}),
    ),
    Block(
        name="eliminator",
        description="zero eliminator: packs kept elements, by prefix sum and log shifter",
        config="sim.blocks.eliminator:EliminatorConfig",
        component="rtl.eliminator:ZeroEliminator",
        sizes=({}, {"lanes": 1, "width_bits": 3}, {"lanes": 11, "width_bits": 5}),
    ),
    Block(
        name="topk",
        description="top-k engine: quick-select over two memories, then an order-preserving filter",
        config="sim.blocks.topk:TopKConfig",
        component="rtl.topk:TopK",
        sizes=({}, {"lanes": 1, "depth": 5, "width_bits": 3}, {"lanes": 4, "depth": 37}),
    ),
    Block(
        name="query_key",
        description="multipliers of a query with keys, and an adder tree that heads cut",
        config="sim.blocks.dotprod:QueryKeyConfig",
        component="rtl.query_key:QueryKey",
        sizes=(
            {},
            {"multipliers": 32, "max_scores_per_cycle": 32, "width_bits": 16, "latency_cycles": 7},
            {"multipliers": 8, "max_scores_per_cycle": 4, "width_bits": 5, "latency_cycles": 7},
        ),
    ),
    Block(
        name="prob_value",
        description="multipliers of probabilities with values, summed by channel over a query",
        config="sim.blocks.dotprod:ProbValueConfig",
        component="rtl.prob_value:ProbValue",
        sizes=(
            {},
            {"multipliers": 32, "max_rows_per_cycle": 1, "width_bits": 16, "latency_cycles": 4},
            {"multipliers": 8, "max_rows_per_cycle": 4, "width_bits": 5, "latency_cycles": 5},
        ),
    ),
    Block(
        name="importance",
        description="token importance: a memory of sums to which probabilities are added",
        config="sim.blocks.accumulate:ImportanceConfig",
        component="rtl.importance:ImportanceAccumulator",
        sizes=(
            {},
            {"lanes": 1, "tokens": 3, "prob_bits": 9, "sum_bits": 7},
            {"lanes": 4, "tokens": 21, "prob_bits": 6, "sum_bits": 13},
        ),
    ),
    Block(
        name="head_importance",
        description="head importance: magnitudes of a head's outputs, added up",
        config="sim.blocks.accumulate:HeadImportanceConfig",
        component="rtl.importance:HeadImportance",
        sizes=(
            {},
            {"lanes": 1, "value_bits": 12, "sum_bits": 9},
            {"lanes": 5, "value_bits": 6, "sum_bits": 9},
        ),
    ),
)

BLOCKS = {block.name: block for block in _ALL}
"""Name -> block."""
