"""Area of a machine's parts at 40 nm, from its sizes: cells and RAM macros, nothing placed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from sim.energy import cells
from sim.energy.hardware import ADDRESS_BITS, Buffer, Hardware, TopK
from sim.energy.memories import buffer_rams, fifo_storage, fifos


def area_table(hardware: Hardware) -> pd.DataFrame:
    """Return columns component, group, area_mm2, source, node_nm, estimate.

    Cells and RAM macros only: no placement overhead, clock tree, wires or pads.
    """
    return pd.DataFrame(area_columns(hardware))


def area_columns(hardware: Hardware) -> dict[str, Sequence[Any]]:
    """Return the columns of `area_table`."""
    component, group, area_mm2, source, estimate = zip(*area_parts(hardware), strict=True)
    return {
        "component": component,
        "group": group,
        "area_mm2": area_mm2,
        "source": source,
        "node_nm": [40.0] * len(component),
        "estimate": estimate,
    }


def area_mm2(hardware: Hardware) -> float:
    """Return the area of all parts."""
    return float(np.sum(area_columns(hardware)["area_mm2"]))


@lru_cache
def area_parts(hardware: Hardware) -> tuple[tuple[str, str, float, str, bool], ...]:
    """Return component, group, area in mm2, source and whether it is an estimate, of each part."""
    multipliers, width = hardware.multipliers, hardware.width_bits
    logic = [
        ("multipliers", multipliers * cells.MULTIPLY32_UM2 * (width / 32) ** 2,
         f"int32 multiplier x ({width}/32)^2"),
        ("adders", multipliers * cells.ADD32_UM2 * 2 * width / 32, f"int32 adder x {2 * width}/32"),
        ("pipeline registers", multipliers * hardware.register_bits * cells.FLIPFLOP_UM2,
         f"flip-flop, {hardware.register_bits} bits a multiplier"),
        ("crossbars", _crossbars_um2(hardware), "4-to-1 crossbars of 32 bit in trees"),
        ("softmax", hardware.softmax_lanes * _SOFTMAX_LANE_UM2,
         "fp32 adders and multipliers, a divider as 7.1 multipliers"),
        ("top-k", sum(_topk_um2(engine) for engine in hardware.topk), "comparators and shifters"),
    ]  # fmt: skip
    rows = [
        (component, "logic", um2 / 1e6, f"{cells.ALADDIN}: {text}", True)
        for component, um2, text in logic
        if um2
    ]
    rows += [
        _buffer("K SRAM", hardware.key_buffer),
        _buffer("V SRAM", hardware.value_buffer),
    ]
    for component, fifo in fifos(hardware):
        storage = fifo_storage(fifo)
        rows.append((component, "sram", storage.area_mm2, storage.source, storage.estimate))
    return tuple(rows)


_SOFTMAX_LANE_UM2 = (
    5 * (cells.FP32_ADD_UM2 + cells.FP32_MULTIPLY_UM2)
    + 2 * (cells.FP32_ADD_UM2 + cells.FP32_MULTIPLY_UM2)
    + cells.DIVISION_RATIO * cells.FP32_MULTIPLY_UM2
)
"""Polynomial of order 5; dequantisation, sum and quantisation; divider. The divider is an estimate:
the ratio of division to multiplication is that of energies."""


def _buffer(component: str, buffer: Buffer) -> tuple[str, str, float, str, bool]:
    rams = buffer_rams(buffer)
    return component, "sram", rams.count * rams.area_mm2, rams.text, False


def _crossbars_um2(hardware: Hardware) -> float:
    """Multiplexer trees: of all lanes for each channel's address, of all channels for a lane."""
    lanes, channels = hardware.lanes, hardware.channels
    addresses = channels * (lanes - 1) / 3 * ADDRESS_BITS / 32
    data = lanes * (channels - 1) / 3 * hardware.data_fifos.width_bits / 32
    return (addresses + data) * cells.CROSSBAR4_UM2


def _topk_um2(engine: TopK) -> float:
    """Two comparator arrays and three zero eliminators."""
    compare = 2 * engine.lanes * cells.COMPARE32_UM2 * engine.width_bits / 32
    shift = 3 * engine.lanes * engine.layers * cells.SHIFT32_UM2 / 5 * engine.width_bits / 32
    return compare + shift
