"""Parts of a trace: fewer inputs, or only the prefill, or only what follows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from workloads.errors import InputError

if TYPE_CHECKING:
    from workloads.trace import Trace

Part = Literal["whole", "prefill", "decode"]


def select(trace: Trace, inputs: int | None, part: Part) -> Trace:
    """Return the first inputs of a trace, and of those only the prefill or what follows it.

    Args:
        trace: any.
        inputs: how many; none: all.
        part: whole, prefill or decode.

    Raises:
        InputError: nothing is left.
    """
    import pyarrow.compute as pc

    from workloads.trace import TABLES

    tables = {}
    for name in TABLES:
        table = trace.tables[name]
        if inputs is not None:
            table = table.filter(pc.less(table["sequence"], inputs))
        if part != "whole" and "step" in table.column_names:
            wanted = pc.equal if part == "prefill" else pc.greater
            table = table.filter(wanted(table["step"], 0))
        tables[name] = table.combine_chunks()
    left = replace(trace, tables=tables)
    if not left.rows("attention"):
        raise InputError(
            f"part {part} of trace {trace.header.workload} must have attention, there is none"
        )
    return left
