"""Cells of 40 nm logic: energies in pJ and areas in um2, each with its source.

Published figures for one operation differ by up to six times, so a unit takes its energies from
one source:

- arithmetic: Horowitz, ISSCC 2014 (45 nm, 0.9 V), scaled to 40 nm. Its multiplications of 8 and
  32 bit agree at 12 bit (0.45 and 0.44 pJ), where Aladdin's 40 nm figure extrapolates a 32-bit
  multiplier that is oversized to meet 1 ns (12.7 pJ; 8.6 pJ at 5 ns). They are bare operators:
  registers are counted apart.
- flip-flops, comparators, shifters, crossbars, and all areas: Aladdin's 40 nm table at 1 ns, the
  only source with all of them.
"""

from __future__ import annotations

HOROWITZ = "Horowitz ISSCC 2014, 45 nm 0.9 V"
ADD32_PJ, MULTIPLY32_PJ = 0.1, 3.1
FP32_ADD_PJ, FP32_MULTIPLY_PJ = 0.9, 3.7
DIVISION_RATIO = 7.1
"""Of a division to a multiplication, measured on a microcontroller (PMC8934428, table 3)."""

ALADDIN = "Aladdin 40 nm, 1 ns"
FLIPFLOP_PJ, FLIPFLOP_UM2 = 0.009, 5.98
"""One bit, clocked with new data."""
COMPARE32_PJ, COMPARE32_UM2 = 0.0295, 71.0
SHIFT32_PJ, SHIFT32_UM2 = 0.417, 250.0
CROSSBAR4_PJ, CROSSBAR4_UM2 = 0.680, 570.0
"""32 bits from 1 to 4 ports, 2 ns."""
ADD32_UM2, MULTIPLY32_UM2 = 278.0, 6351.0
FP32_ADD_UM2, FP32_MULTIPLY_UM2 = 4361.0, 8967.0
LEAKAGE_W_PER_MM2 = 74e-9 / 5.98e-6
"""Of a flip-flop, 74 nW."""
