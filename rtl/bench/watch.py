"""Watch ports that are no streams."""

from __future__ import annotations

from typing import Any

from cocotb.triggers import FallingEdge


async def note(dut: Any, name: str, seen: list[int]) -> None:
    """Note a port in every cycle."""
    while True:
        await FallingEdge(dut.clk)
        seen.append(int(getattr(dut, name).value))
