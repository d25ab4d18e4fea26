"""The one shape of DSP48E2 that the packed modes need, as a primitive or as its behaviour.

Attributes and ports as in UG579 and UG974. Yosys does not move a pre-adder or an accumulator into a
DSP48E2 by itself, so synthesis is given the primitive; `dsp48.v` holds what simulation needs of
it.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

SUM = 0b00_010_01_01  # OPMODE: P = M + P
START = 0b00_011_01_01  # OPMODE: P = M + C
ADD_A2_D = 0b00100  # INMODE: multiply the pre-adder's A2 + D with B2


class Dsp48(wiring.Component):
    """Computes p = (a + d) * b + (c if `start` else p), a register at each step.

    `a`, `d` and `b` enter the operand registers in a cycle with `enable`; two enabled cycles later
    `c` and `start` of the same product enter theirs, and in the one after, if it has `sums`, `p`
    takes the sum. The registers have no reset.
    """

    def __init__(self, primitive: bool) -> None:
        self._primitive = primitive
        super().__init__(
            {
                "enable": In(1),
                "sums": In(1),
                "a": In(signed(27)),
                "d": In(signed(27)),
                "b": In(signed(18)),
                "c": In(signed(48)),
                "start": In(1),
                "p": Out(signed(48)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self._primitive:
            m.submodules.dsp = self._instance()
        else:
            self._behaviour(m)
        return m

    def _behaviour(self, m: Module) -> None:
        def register(width: int, name: str) -> Signal:
            return Signal(signed(width), name=name, reset_less=True)

        a, d, added = register(27, "a1"), register(27, "d1"), register(27, "ad")
        b1, b2, product = register(18, "b1"), register(18, "b2"), register(45, "m")
        c, total, start = register(48, "c1"), register(48, "total"), Signal(reset_less=True)
        with m.If(self.enable):
            m.d.sync += [
                a.eq(self.a),
                d.eq(self.d),
                b1.eq(self.b),
                added.eq(a + d),
                b2.eq(b1),
                product.eq(added * b2),
                c.eq(self.c),
                start.eq(self.start),
            ]
        with m.If(self.sums):
            m.d.sync += total.eq(product + Mux(start, c, total))
        m.d.comb += self.p.eq(total)

    def _instance(self) -> Instance:
        off = {name: Const(0, width) for name, width in _UNUSED.items()}
        enables = ("CEA2", "CED", "CEAD", "CEB1", "CEB2", "CEM", "CEC", "CECTRL")
        used = {f"i_{name}": self.enable for name in enables}
        return Instance(
            "DSP48E2",
            **{f"p_{name}": value for name, value in _ATTRIBUTES.items()},
            **{f"i_{name}": value for name, value in off.items()},
            **used,
            i_CLK=ClockSignal(),
            i_CEP=self.sums,
            i_A=Cat(self.a, self.a[-1].replicate(3)),
            i_B=self.b,
            i_C=self.c,
            i_D=self.d,
            i_INMODE=Const(ADD_A2_D, 5),
            i_OPMODE=Mux(self.start, Const(START, 9), Const(SUM, 9)),
            o_P=self.p,
        )


_ATTRIBUTES = {
    "A_INPUT": "DIRECT", "B_INPUT": "DIRECT", "AMULTSEL": "AD", "BMULTSEL": "B",
    "PREADDINSEL": "A", "USE_MULT": "MULTIPLY", "USE_SIMD": "ONE48", "USE_WIDEXOR": "FALSE",
    "USE_PATTERN_DETECT": "NO_PATDET", "AUTORESET_PATDET": "NO_RESET",
    "AREG": 1, "ACASCREG": 1, "BREG": 2, "BCASCREG": 2, "CREG": 1, "DREG": 1, "ADREG": 1,
    "MREG": 1, "PREG": 1, "OPMODEREG": 1, "ALUMODEREG": 0, "INMODEREG": 0, "CARRYINREG": 0,
    "CARRYINSELREG": 0,
}  # fmt: skip

_UNUSED = {
    "ACIN": 30, "BCIN": 18, "PCIN": 48, "CARRYIN": 1, "CARRYCASCIN": 1, "MULTSIGNIN": 1,
    "CARRYINSEL": 3, "ALUMODE": 4, "CEA1": 1, "CEALUMODE": 1, "CECARRYIN": 1, "CEINMODE": 1,
    "RSTA": 1, "RSTALLCARRYIN": 1, "RSTALUMODE": 1, "RSTB": 1, "RSTC": 1, "RSTCTRL": 1,
    "RSTD": 1, "RSTINMODE": 1, "RSTM": 1, "RSTP": 1,
}  # fmt: skip
