"""Bench of a sweep: it checks itself."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge


@cocotb.test()
async def all_operands(dut: Any) -> None:
    """The product of every operand is right, both forms are the same."""
    await sweep(dut)
    assert not int(dut.wrong.value), "a product is wrong"


@cocotb.test()
async def both_forms_with_stalls(dut: Any) -> None:
    """Both forms give the same sums in the same cycles."""
    await sweep(dut)


async def sweep(dut: Any) -> None:
    """Run to the end."""
    dut.rst.value = 1
    Clock(dut.clk, 2, "ns").start()
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.done)
    assert not int(dut.differs.value), "the primitive differs from its behaviour"
