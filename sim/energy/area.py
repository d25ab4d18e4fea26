"""Area of SpAtten's parts at 40 nm, from its configuration: cells and SRAM, nothing placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from sim.machines.spatten import SpAtten

_ALADDIN = "Aladdin 40 nm, 1 ns"
_FLIPFLOP_UM2 = 5.98
_MULTIPLY32_UM2, _ADD32_UM2 = 6351.0, 278.0
_COMPARE32_UM2, _SHIFT32_UM2, _CROSSBAR4_UM2 = 71.0, 250.0, 570.0
_FP32_ADD_UM2, _FP32_MULTIPLY_UM2 = 4361.0, 8967.0
_DIVIDER_UM2 = 7.1 * _FP32_MULTIPLY_UM2
"""Estimate: the ratio of division to multiplication, as for its energy."""

_SRAM_MM2 = {512: 0.038886, 64: 0.020755}
"""CACTI 7, 8192 B x width bit, 40 nm itrs-lstp, 1rw, by width in bits."""
_SRAM_BYTES = 8192

PIPELINE_REGISTER_BITS = 12 + 12 + 24 + 24
"""Flip-flops of a multiplier: broadcast operand, operand of the line, product, and its node of the
adder tree; the released RTL registers each of these stages."""

_FIFO_DEPTH, _ADDRESS_BITS, _DATA_BITS = 64, 64, 128
"""Of the fetcher's FIFOs, one of each for 32 lanes at 16 channels (SpAtten, section IV)."""


def area_table(machine: SpAtten) -> pd.DataFrame:
    """Return columns component, area_mm2, source, node_nm, estimate.

    Cells and RAM macros only: no placement overhead, clock tree, wires or pads.
    """
    lanes = 2 * machine.dram.channels
    multipliers, width = machine.multipliers, machine.width_bits
    scores = machine.softmax.fifo_elements + machine.requant.fifo_rows * machine.softmax.lanes
    rows = [
        ("multipliers", multipliers * _MULTIPLY32_UM2 * (width / 32) ** 2,
         f"{_ALADDIN}: int32 multiplier x (12/32)^2", True),
        ("adders", multipliers * _ADD32_UM2 * 24 / 32, f"{_ALADDIN}: int32 adder x 24/32", True),
        ("pipeline registers", multipliers * PIPELINE_REGISTER_BITS * _FLIPFLOP_UM2,
         f"{_ALADDIN}: flip-flop, {PIPELINE_REGISTER_BITS} bits a multiplier", True),
        ("K SRAM", _sram_um2(machine.key_buffer.bytes, machine.query_key.multipliers),
         "CACTI 7, 40 nm itrs-lstp: RAMs of 8192 B", False),
        ("V SRAM", _sram_um2(machine.value_buffer.bytes, machine.prob_value.multipliers),
         "CACTI 7, 40 nm itrs-lstp: RAMs of 8192 B", False),
        ("FIFOs", (lanes * _FIFO_DEPTH * (_ADDRESS_BITS + _DATA_BITS) + scores * width)
         * _FLIPFLOP_UM2, f"{_ALADDIN}: flip-flops of fetcher and score FIFOs", True),
        ("crossbars", _crossbars_um2(lanes, machine.dram.channels),
         f"{_ALADDIN}: 4-to-1 crossbar of 32 bit in trees", True),
        ("softmax", machine.softmax.lanes * (5 * (_FP32_ADD_UM2 + _FP32_MULTIPLY_UM2)
         + 2 * _FP32_ADD_UM2 + 2 * _FP32_MULTIPLY_UM2 + _DIVIDER_UM2),
         f"{_ALADDIN}: fp32 adders and multipliers, a divider as 7.1 multipliers", True),
        ("top-k", _topk_um2(machine.value_topk.lanes, machine.value_topk.depth, width)
         + _topk_um2(machine.cascade_topk.lanes, machine.cascade_topk.depth, width),
         f"{_ALADDIN}: comparators, shifters, flip-flops of three FIFOs an engine", True),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["component", "area_mm2", "source", "estimate"])
    table["area_mm2"] /= 1e6
    table.insert(3, "node_nm", 40)
    return table


def _sram_um2(size_bytes: int, line_elements: int) -> float:
    """Bit planes of a line are RAMs of their own; the nearest width that CACTI has been asked."""
    width = min(_SRAM_MM2, key=lambda bits: abs(bits - line_elements))
    return size_bytes / _SRAM_BYTES * _SRAM_MM2[width] * 1e6


def _crossbars_um2(lanes: int, channels: int) -> float:
    """Multiplexer trees: of all lanes for each channel's address, of all channels for a lane."""
    addresses = channels * (lanes - 1) / 3 * _ADDRESS_BITS / 32
    data = lanes * (channels - 1) / 3 * _DATA_BITS / 32
    return (addresses + data) * _CROSSBAR4_UM2


def _topk_um2(lanes: int, depth: int, width: int) -> float:
    """Two comparator arrays, three zero eliminators, two FIFOs and one for the input's copy."""
    compare = 2 * lanes * _COMPARE32_UM2 * width / 32
    layers = max(1, lanes.bit_length() - 1)
    shift = 3 * lanes * layers * _SHIFT32_UM2 / 5 * width / 32
    return compare + shift + 3 * depth * width * _FLIPFLOP_UM2
