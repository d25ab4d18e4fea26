"""The first heads of a run as intervals, for a timeline viewer."""

from __future__ import annotations

from typing import Any

from sim.machines.pipeline import Schedule
from sim.operations import Operations
from sim.summary import by_name


def timeline_columns(
    operations: Operations,
    schedule: Schedule,
    spans: list[tuple[int, str, int, int]],
    heads: int,
) -> dict[str, Any]:
    """Return the columns of the `timeline` table, one row per unit and operation.

    Args:
        operations: all heads.
        schedule: fetches and cascade selections, already limited to the first heads.
        spans: (operation, unit, start, end) of the compute units.
        heads: number of heads to show.
    """
    names = [
        f"input {s} step {t} layer {layer} head {h}"
        for s, t, layer, h in zip(
            operations.sequence[:heads].tolist(),
            operations.step[:heads].tolist(),
            operations.layer[:heads].tolist(),
            operations.head[:heads].tolist(),
            strict=True,
        )
    ]
    rows = [
        (f"fetch {tensor}", names[op], start, end)
        for op, tensor, start, end in schedule.fetch_spans
    ]
    rows += [(unit, names[op], start, end) for op, unit, start, end in spans if op < heads]
    rows += [
        ("cascade top-k", f"layer group {group}", start, end)
        for group, start, end in schedule.cascade_spans
    ]
    return by_name(TIMELINE, rows)


TIMELINE = ("unit", "name", "start_cycle", "end_cycle")
"""Columns of the `timeline` table."""
