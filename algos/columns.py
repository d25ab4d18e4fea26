"""Columns of a trace table collected block by block, and joined once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workloads.trace import Ragged, TraceBuilder

Array = np.ndarray[Any, Any]


class Lists(NamedTuple):
    """A list column of one block: row i has `lengths[i]` of `values`, or is null."""

    values: Array
    lengths: Array
    given: Array  # bool; where false the length is 0

    @classmethod
    def of_rows(cls, rows: Array) -> Lists:
        """Make one list of each row of a (rows, width) array."""
        return cls(rows.reshape(-1), np.full(len(rows), rows.shape[1]), np.ones(len(rows), bool))

    @classmethod
    def of_mask(cls, ids: Array, mask: Array) -> Lists:
        """Make lists of the `ids` (rows, width) where `mask` is true."""
        return cls(ids[mask], mask.sum(1), np.ones(len(ids), bool))

    @classmethod
    def unknown(cls, rows: int) -> Lists:
        """Make a block of null lists."""
        return cls(np.zeros(0, np.int32), np.zeros(rows, np.int64), np.zeros(rows, bool))

    def spread(self, places: Array) -> Lists:
        """Put the lists where `places` (bool) is true and nulls elsewhere."""
        lengths, given = np.zeros(len(places), np.int64), np.zeros(len(places), bool)
        lengths[places], given[places] = self.lengths, self.given
        return Lists(self.values, lengths, given)


class Collector:
    """Blocks of rows of every table. Each block of a table must give the same columns."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[tuple[int, dict[str, Any]]]] = {}

    def add(self, table: str, rows: int, **columns: Any) -> None:
        """Append `rows` rows; a scalar is repeated, a list column is a `Lists`."""
        self._blocks.setdefault(table, []).append((rows, columns))

    def write(self, builder: TraceBuilder) -> None:
        """Hand each table to the builder as one block."""
        for table, blocks in self._blocks.items():
            columns = {name: _join(name, blocks) for name in blocks[0][1]}
            builder.add(table, sum(rows for rows, _ in blocks), **columns)


def _join(name: str, blocks: list[tuple[int, dict[str, Any]]]) -> Any:
    parts = [columns[name] for _, columns in blocks]
    if not isinstance(parts[0], Lists):
        return np.concatenate(
            [
                part if isinstance(part, np.ndarray) else np.full(rows, part)
                for (rows, _), part in zip(blocks, parts, strict=True)
            ]
        )
    lengths = np.concatenate([part.lengths for part in parts])
    kinds = [part.values for part in parts if len(part.values)] or [parts[0].values]
    return Ragged(
        np.concatenate(kinds),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.given for part in parts]),
    )
