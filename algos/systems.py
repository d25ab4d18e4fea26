"""Published pruning systems, and which method here carries each.

The rows are in `systems.tsv`. Tier A is true to its paper; in tier B the paper's own rule gives a
mask of a pretrained model; in tier C the paper trains something, so that its traces come from a
substitute criterion, and the row says which and what differs.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

TABLE = Path(__file__).with_name("systems.tsv")

Tier = Literal["A", "B", "C"]
How = Literal["own rule", "substitute criterion"]


@dataclass(frozen=True, kw_only=True)
class System:
    """A published system whose sparsity a trace can hold."""

    id: str
    name: str
    tier: Tier
    family: str
    trace: tuple[str, ...]  # what a simulator reads of it, of `algos.base.TRACE_KINDS`
    rule: str  # what goes or stays, in one line
    method: str  # in `METHODS`
    also: tuple[str, ...]  # methods that carry another part of it
    how: How  # how the method stands for it
    criterion: str  # what stands for its criterion and what differs; "": nothing worth a word


@cache
def read_systems() -> tuple[System, ...]:
    """Return all systems, tier by tier."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_system, csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)))


def _system(row: dict[str, str]) -> System:
    lists = {name: tuple(filter(None, row[name].split("; "))) for name in ("trace", "also")}
    return System(**{**row, **lists})  # type: ignore[arg-type]
