"""What one event costs on a machine: constants with their sources.

Each unit takes all its constants from one source, at one node and voltage, because published
figures for the same operation differ by up to six times (`sim.energy.cells`):

- matrix units: Horowitz, scaled to 40 nm. Softmax: Horowitz again, left at 45 nm as an upper
  bound, as the SpAtten paper does.
- top-k, crossbars and small FIFOs: Aladdin's cells.
- K and V SRAM and FIFOs from 1 KiB: CACTI 7, by the machine's sizes. DRAM: O'Connor et al.

Operators and the registers between them are counted; the clock tree, control and wires are left
out, so the logic's total is a lower bound. Nothing is fitted to a published power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np

from sim.energy import cells
from sim.energy.area import area_parts
from sim.energy.cacti import Rams
from sim.energy.hardware import Fifo, Hardware
from sim.energy.memories import buffer_rams, fifo_storage, leakage_w
from sim.energy.scaling import scale_node
from sim.units import pj_per_cycle

Group = Literal["dram", "sram", "logic", "static"]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The energy of one event."""

    event: str
    component: str  # part of the machine, for reports
    group: Group  # as published powers are split; FIFOs count as sram, as in the SpAtten paper
    pj: float  # energy of one event
    unit: str  # what one event is
    source: str  # the derivation, in one line
    node_nm: float | None  # None: a DRAM process that the source does not state
    estimate: bool = False  # True: not a published or computed figure of this very operation


@lru_cache
def energy_table(hardware: Hardware, clock_hz: float) -> Mapping[str, Constant]:
    """Return what each event costs on a machine of these sizes, by event.

    Args:
        hardware: sizes of the machine.
        clock_hz: a cycle's share of static power depends on it.
    """
    parts = (
        _dram(),
        _srams(hardware),
        _matrix_units(hardware.width_bits),
        _softmax(),
        _crossbars(hardware),
        _topk(hardware.width_bits),
        _fifos(hardware),
        _statics(hardware, clock_hz),
    )
    return MappingProxyType({constant.event: constant for part in parts for constant in part})


@lru_cache
def dram_table(clock_hz: float) -> Mapping[str, Constant]:
    """Return what the events of HBM2 alone cost, for machines whose logic is not priced."""
    constants = (*_dram(), _dram_background(clock_hz))
    return MappingProxyType({constant.event: constant for constant in constants})


_UPPER = f"{cells.HOROWITZ}, unscaled as an upper bound (as SpAtten HPCA 2021)"
_TO_40 = "to 40 nm 0.9 V by Stillmaker & Baas 2017 (x 0.862)"
_OCONNOR = "O'Connor et al. MICRO 2017 (HBM2)"


def _dram() -> list[Constant]:
    def dram(event: str, pj: float, unit: str, source: str, estimate: bool = False) -> Constant:
        return Constant(
            event=event,
            component="DRAM",
            group="dram",
            pj=pj,
            unit=unit,
            source=source,
            node_nm=None,
            estimate=estimate,
        )

    return [
        dram("dram_activate", 909.0, "row activation", f"{_OCONNOR}: 1 KB row"),
        dram(
            "dram_read_bit",
            1.51 + 1.17,
            "bit read",
            f"{_OCONNOR}: before 1.51 + behind the global sense amplifiers 1.17, 50 % toggle",
        ),
        dram("dram_io_bit", 0.80, "bit moved", f"{_OCONNOR}: I/O at 50 % toggle"),
        dram(
            "dram_refresh",
            21_900.0,
            "all-bank refresh of a pseudo-channel",
            "measured on HBM2 stacks of U55C boards, CMU-SAFARI/HBM-Power: 21.9 nJ",
        ),
    ]


def _srams(hardware: Hardware) -> list[Constant]:
    buffers = {"key": ("K SRAM", hardware.key_buffer), "value": ("V SRAM", hardware.value_buffer)}
    return [
        constant
        for name, (component, buffer) in buffers.items()
        for constant in _sram(name, component, buffer_rams(buffer))
    ]


def _sram(name: str, component: str, rams: Rams) -> list[Constant]:
    return [
        Constant(
            event=f"{name}_sram_{access}_bit",
            component=component,
            group="sram",
            pj=pj / rams.width_bits,
            unit=unit,
            source=f"{rams.text}, {pj:.4g} pJ per {access} / {rams.width_bits:.0f}",
            node_nm=40,
        )
        for access, unit, pj in (
            ("read", "bit read", rams.read_pj),
            ("write", "bit written", rams.write_pj),
        )
    ]


def _integer(event: str, component: str, pj_45: float, unit: str, derivation: str) -> Constant:
    return Constant(
        event=event,
        component=component,
        group="logic",
        pj=scale_node(pj_45, 45, 40),
        unit=unit,
        source=f"{cells.HOROWITZ}: {derivation} = {pj_45:.4g} pJ, {_TO_40}",
        node_nm=40,
        estimate=True,
    )


def _matrix_units(width: int) -> list[Constant]:
    multiply = cells.MULTIPLY32_PJ * (width / 32) ** 2
    wide, narrow = cells.ADD32_PJ * 2 * width / 32, cells.ADD32_PJ * width / 32
    of_wide = f"int32 add 0.1 x {2 * width}/32"
    return [
        _integer(
            "multiply",
            "multipliers",
            multiply,
            f"{width}-bit multiplication",
            f"int32 multiplication 3.1 x ({width}/32)^2",
        ),
        _integer(
            "add", "adders", wide, f"{2 * width}-bit addition in tree or accumulator", of_wide
        ),
        _cell(
            "pipeline_register_bit",
            "pipeline registers",
            cells.FLIPFLOP_PJ,
            "bit of a multiplier's pipeline registers clocked",
            f"flip-flop 0.009; two operands of {width}, product and tree node of {2 * width} bits",
        ),
        _integer(
            "importance_add", "adders", wide, f"{2 * width}-bit accumulation of a score", of_wide
        ),
        _integer(
            "requant_compare",
            "adders",
            narrow,
            f"{width}-bit comparison with the LSB threshold",
            f"a comparison as a subtraction, int32 add 0.1 x {width}/32",
        ),
    ]


def _floating(event: str, pj: float, unit: str, derivation: str, estimate: bool) -> Constant:
    return Constant(
        event=event,
        component="softmax",
        group="logic",
        pj=pj,
        unit=unit,
        source=f"{_UPPER}: {derivation}",
        node_nm=45,
        estimate=estimate,
    )


def _softmax() -> list[Constant]:
    fma = cells.FP32_MULTIPLY_PJ + cells.FP32_ADD_PJ
    return [
        _floating(
            "exponential",
            5 * fma,
            "exp as a 5th-order Taylor polynomial",
            "5 fp32 FMA x (multiplication 3.7 + addition 0.9)",
            False,
        ),
        _floating("softmax_add", cells.FP32_ADD_PJ, "fp32 addition", "fp32 addition", False),
        _floating(
            "division",
            cells.DIVISION_RATIO * cells.FP32_MULTIPLY_PJ,
            "fp32 division",
            "fp32 multiplication 3.7 x 7.1, the ratio measured on a microcontroller (PMC8934428)",
            True,
        ),
        _floating(
            "dequantise",
            cells.FP32_MULTIPLY_PJ,
            "integer score to fp32",
            "one fp32 multiplication by the scale",
            True,
        ),
        _floating(
            "quantise",
            fma,
            "fp32 probability to 12 bit",
            "one fp32 multiplication by the scale 3.7 + rounding as an addition 0.9",
            True,
        ),
    ]


def _cell(event: str, component: str, pj: float, unit: str, derivation: str) -> Constant:
    return Constant(
        event=event,
        component=component,
        group="logic",
        pj=pj,
        unit=unit,
        source=f"{cells.ALADDIN}: {derivation}",
        node_nm=40,
        estimate=True,
    )


def _crossbars(hardware: Hardware) -> list[Constant]:
    per_level = cells.CROSSBAR4_PJ / 32
    return [
        _cell(
            f"{what}_crossbar_bit",
            "crossbars",
            per_level * max(1.0, math.log(inputs, 4)),
            f"bit of {what} through a crossbar",
            f"4-to-1 crossbar 0.680 / 32 x log4 of {inputs} inputs",
        )
        for what, inputs in (("address", hardware.lanes), ("data", hardware.channels))
    ]


def _topk(width: int) -> list[Constant]:
    return [
        _cell(
            "topk_compare",
            "top-k",
            cells.COMPARE32_PJ * width / 32,
            f"{width}-bit comparison",
            f"32-bit comparison 0.0295 x {width}/32",
        ),
        _cell(
            "topk_shift",
            "top-k",
            cells.SHIFT32_PJ * width / 32 / 5,
            f"{width}-bit element through one layer of the zero eliminator",
            f"32-bit shift 0.417 x {width}/32 / 5 layers",
        ),
    ]


def _fifos(hardware: Hardware) -> list[Constant]:
    first = hardware.topk[0].fifos if hardware.topk else None
    kinds = {
        "address_fifo_bit": ("FIFOs", hardware.address_fifos),
        "data_fifo_bit": ("FIFOs", hardware.data_fifos),
        "softmax_fifo_bit": ("FIFOs", hardware.softmax_fifo),
        "decision_fifo_bit": ("FIFOs", hardware.decision_fifo),
        "topk_fifo_bit": ("top-k", first),
    }
    return [
        _fifo(event, component, fifo)
        for event, (component, fifo) in kinds.items()
        if fifo is not None
    ]


def _fifo(event: str, component: str, fifo: Fifo) -> Constant:
    storage = fifo_storage(fifo)
    return Constant(
        event=event,
        component=component,
        group="sram",
        pj=storage.pj_per_bit,
        unit="bit pushed and popped",
        source=storage.source,
        node_nm=40,
        estimate=storage.estimate,
    )


def _dram_background(clock_hz: float) -> Constant:
    return Constant(
        event="dram_background",
        component="static",
        group="static",
        pj=pj_per_cycle(0.274 / 8, clock_hz),
        unit="channel x cycle",
        source="DRAMsim3's HBM2 currents (1.2 V, IDD3N): stack of 8 channels, all banks open, "
        "0.274 W / 8 (precharged: 0.226 W)",
        node_nm=None,
        estimate=True,
    )


def _statics(hardware: Hardware, clock_hz: float) -> list[Constant]:
    areas = [mm2 for _, group, mm2, _, _ in area_parts(hardware) if group == "logic"]
    logic_mm2 = float(np.sum(areas))

    def static(event: str, power_w: float, unit: str, source: str, node_nm: float) -> Constant:
        return Constant(
            event=event,
            component="static",
            group="static",
            pj=pj_per_cycle(power_w, clock_hz),
            unit=unit,
            source=source,
            node_nm=node_nm,
            estimate=True,
        )

    return [
        _dram_background(clock_hz),
        static(
            "sram_leakage",
            leakage_w(hardware),
            "cycle",
            f"{buffer_rams(hardware.key_buffer).text} for K, V and FIFOs likewise: "
            f"{leakage_w(hardware):.3g} W (the slower itrs-lstp cells leak a 3000th)",
            40,
        ),
        static(
            "logic_leakage",
            logic_mm2 * cells.LEAKAGE_W_PER_MM2,
            "cycle",
            f"{cells.ALADDIN}: flip-flop 74 nW / 5.98 um2, for {logic_mm2:.3g} mm2 of logic",
            40,
        ),
    ]
