"""What one event costs: constants with their sources.

Each unit takes all its constants from one source, at one node and voltage, because published
figures for the same operation differ by up to six times:

- matrix units: Horowitz, ISSCC 2014 (45 nm, 0.9 V), scaled to 40 nm, 0.9 V. Its multiplications
  of 8 and 32 bit agree at 12 bit (0.45 and 0.44 pJ), where Aladdin's 40 nm figure extrapolates a
  32-bit multiplier that is oversized to meet 1 ns (12.7 pJ, 8.6 pJ at 5 ns).
- softmax: Horowitz again, left at 45 nm as an upper bound, as the SpAtten paper does.
- top-k and FIFOs: Aladdin's 40 nm cells at 1 ns, the only source with comparators, shifters and
  flip-flops.
- K and V SRAM: CACTI 7. DRAM: O'Connor et al., MICRO 2017.

Horowitz's are bare operators; the registers between them are counted apart, and the clock tree,
control and wires are left out, so the logic's total is a lower bound. Nothing is fitted to a
published power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sim.energy.scaling import scale_node
from sim.units import GHZ, pj_per_cycle

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


_ADD32_PJ, _MULTIPLY32_PJ = 0.1, 3.1
_FP32_ADD_PJ, _FP32_MULTIPLY_PJ, _FP32_DIVIDE_PJ = 0.9, 3.7, 26.3
_HOROWITZ = "Horowitz ISSCC 2014, 45 nm 0.9 V"
_UPPER = f"{_HOROWITZ}, unscaled as an upper bound (as SpAtten HPCA 2021)"
_TO_40 = "to 40 nm 0.9 V by Stillmaker & Baas 2017 (x 0.862)"

_COMPARE32_PJ, _SHIFT32_PJ, _FLIPFLOP_PJ = 0.0295, 0.417, 0.009
_ALADDIN = "Aladdin 40 nm, 1 ns"

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


def _sram(event: str, component: str, read: bool, pj: float, width_bits: int) -> Constant:
    access = "read" if read else "write"
    return Constant(
        event=event,
        component=component,
        group="sram",
        pj=pj / width_bits,
        unit="bit read" if read else "bit written",
        source=(
            f"CACTI 7, 8192 B x {width_bits} bit, 40 nm itrs-lstp, 1rw: {pj} pJ per {access} "
            f"/ {width_bits}; 196,608 B buffer = 12 bit planes x 2 banks; lstp is the less leaky "
            "cell that still cycles under 1 ns"
        ),
        node_nm=40,
    )


def _srams(read_pj: float, write_pj: float, width_bits: int) -> list[Constant]:
    return [
        _sram(f"{name}_sram_{access}_bit", component, access == "read", pj, width_bits)
        for name, component in (("key", "K SRAM"), ("value", "V SRAM"))
        for access, pj in (("read", read_pj), ("write", write_pj))
    ]


def _integer(event: str, component: str, pj_45: float, unit: str, derivation: str) -> Constant:
    return Constant(
        event=event,
        component=component,
        group="logic",
        pj=scale_node(pj_45, 45, 40),
        unit=unit,
        source=f"{_HOROWITZ}: {derivation} = {pj_45:.4g} pJ, {_TO_40}",
        node_nm=40,
        estimate=True,
    )


def _matrix_units() -> list[Constant]:
    multiply = _MULTIPLY32_PJ * (12 / 32) ** 2
    add24, add12 = _ADD32_PJ * 24 / 32, _ADD32_PJ * 12 / 32
    of_add24 = "int32 add 0.1 x 24/32"
    return [
        _integer(
            "multiply",
            "multipliers",
            multiply,
            "12-bit multiplication",
            "int32 multiplication 3.1 x (12/32)^2",
        ),
        _integer("add", "adders", add24, "24-bit addition in tree or accumulator", of_add24),
        _cell(
            "pipeline_register_bit",
            "pipeline registers",
            "logic",
            _FLIPFLOP_PJ,
            "bit of a multiplier's pipeline registers clocked",
            "flip-flop 0.009; operands 2 x 12, product 24 and adder-tree node 24 bits a product",
        ),
        _integer("importance_add", "adders", add24, "24-bit accumulation of a score", of_add24),
        _integer(
            "requant_compare",
            "adders",
            add12,
            "12-bit comparison with the LSB threshold",
            "a comparison as a subtraction, int32 add 0.1 x 12/32",
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
    fma = _FP32_MULTIPLY_PJ + _FP32_ADD_PJ
    return [
        _floating(
            "exponential",
            5 * fma,
            "exp as a 5th-order Taylor polynomial",
            "5 fp32 FMA x (multiplication 3.7 + addition 0.9)",
            False,
        ),
        _floating("softmax_add", _FP32_ADD_PJ, "fp32 addition", "fp32 addition", False),
        _floating(
            "division",
            _FP32_DIVIDE_PJ,
            "fp32 division",
            "fp32 multiplication 3.7 x 7.1, the ratio measured on a microcontroller (PMC8934428)",
            True,
        ),
        _floating(
            "dequantise",
            _FP32_MULTIPLY_PJ,
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


def _cell(
    event: str, component: str, group: Group, pj: float, unit: str, derivation: str
) -> Constant:
    return Constant(
        event=event,
        component=component,
        group=group,
        pj=pj,
        unit=unit,
        source=f"{_ALADDIN}: {derivation}",
        node_nm=40,
        estimate=True,
    )


def _topk_and_fifos() -> list[Constant]:
    through_fifo = f"flip-flop {_FLIPFLOP_PJ} written, as much again for the multiplexer read"
    return [
        _cell(
            "topk_compare",
            "top-k",
            "logic",
            _COMPARE32_PJ * 12 / 32,
            "12-bit comparison",
            "32-bit comparison 0.0295 x 12/32",
        ),
        _cell(
            "topk_shift",
            "top-k",
            "logic",
            _SHIFT32_PJ * 12 / 32 / 5,
            "12-bit element through one layer of the zero eliminator",
            "32-bit shift 0.417 x 12/32 / 5 layers",
        ),
        _cell(
            "topk_fifo_bit",
            "top-k",
            "sram",
            2 * _FLIPFLOP_PJ,
            "bit pushed and popped",
            through_fifo,
        ),
        _cell("fifo_bit", "FIFOs", "sram", 2 * _FLIPFLOP_PJ, "bit pushed and popped", through_fifo),
    ]


def _static(event: str, power_w: float, unit: str, source: str, node_nm: float | None) -> Constant:
    return Constant(
        event=event,
        component="static",
        group="static",
        pj=pj_per_cycle(power_w, GHZ),
        unit=f"{unit} x cycle of 1 ns",
        source=source,
        node_nm=node_nm,
        estimate=True,
    )


_LEAKAGE_W_PER_UM2 = 74e-9 / 5.98  # of a flip-flop
_MULTIPLIER_UM2, _ADDER_UM2 = 6351 * (12 / 32) ** 2, 278 * 24 / 32
_FIFO_BITS = 32 * 64 * (8 + 16) * 8 / 1024  # per multiplier: the fetcher's FIFOs
_LOGIC_UM2 = _MULTIPLIER_UM2 + _ADDER_UM2 + _FIFO_BITS * 5.98


def _statics(leakage_mw: float, width_bits: int) -> list[Constant]:
    return [
        _static(
            "dram_background",
            0.274 / 8,
            "channel",
            "DRAMsim3's HBM2 currents (1.2 V, IDD3N): stack of 8 channels, all banks open, "
            "0.274 W / 8 (precharged: 0.226 W)",
            None,
        ),
        _static(
            "sram_leakage",
            leakage_mw * 1e-3 / 8,
            "KiB of K and V SRAM",
            f"CACTI 7, 8192 B x {width_bits} bit, 40 nm itrs-lstp, 350 K: {leakage_mw} mW / 8 KiB",
            40,
        ),
        _static(
            "logic_leakage",
            _LOGIC_UM2 * _LEAKAGE_W_PER_UM2,
            "multiplier",
            "Aladdin 40 nm flip-flop 74 nW / 5.98 um2, for a 12-bit multiplier (893 um2), a "
            "24-bit adder (209 um2) and the multiplier's share, 384 bit, of SpAtten's 32 address "
            "and 32 data FIFOs (64 x 8 B, 64 x 16 B)",
            40,
        ),
    ]


def _table(*parts: list[Constant]) -> dict[str, Constant]:
    return {constant.event: constant for part in parts for constant in part}


SPATTEN_40NM: dict[str, Constant] = _table(
    _dram(),
    _srams(read_pj=26.1224, write_pj=37.8981, width_bits=512),
    _matrix_units(),
    _softmax(),
    _topk_and_fifos(),
    _statics(leakage_mw=0.00171559, width_bits=512),
)
"""The paper's SpAtten, by event: K and V buffers of 256 lines of 512 12-bit elements."""

SPATTEN_EIGHTH_40NM: dict[str, Constant] = SPATTEN_40NM | _table(
    _srams(read_pj=5.01482, write_pj=6.35425, width_bits=64),
    _statics(leakage_mw=0.00176282, width_bits=64),
)
"""SpAtten with an eighth of the multipliers: the same buffers, 2048 lines of 64 elements."""


def at_clock(table: Mapping[str, Constant], clock_hz: float) -> dict[str, Constant]:
    """Return a table for another clock: static power stays, a cycle's share of it changes."""
    return {
        event: replace(constant, pj=constant.pj * GHZ / clock_hz)
        if constant.group == "static"
        else constant
        for event, constant in table.items()
    }
