"""DDR4 presets.

Timing: Ramulator 2.1 (commit c5b1c3a), preset DDR4_2400R with DDR4_8Gb_x8: primary timings are
JESD79-4's speed bin DDR4-2400R (16-16-16), tCCD_L, tRTP, tRRD and tFAW (21 ns, 1 KiB pages) its
minimum rounded up to clocks, tREFI 7.8 us. Its tRFC is 360 ns, where JESD79-4 gives tRFC1 = 350 ns
for 8 Gb. Organisation: JESD79-4, 8 Gb x8: 4 groups of 4 banks, 65,536 rows of 1 KiB; eight chips
make a 64-bit rank, a burst of 8 moves 64 bytes.
"""

from __future__ import annotations

from sim.dram.mapping import remap, robaracoch
from sim.dram.spec import DramSpec

_MAPPING = robaracoch({"bank_group": 4, "bank": 4, "row": 65536, "column": 128})

DDR4_2400R = DramSpec(
    name="ddr4-2400r",
    channels=1,
    ranks=1,
    command_buses=1,
    bank_groups=4,
    banks=4,
    rows=65536,
    columns=128,
    transaction_bytes=64,
    t_ck_ns=0.833,
    n_bl=4,
    n_cl=16,
    n_rcd=16,
    n_rp=16,
    n_ras=39,
    n_rc=55,
    n_rtp=9,
    n_ccd_s=4,
    n_ccd_l=6,
    n_cs=2,  # Ramulator 2.1: JESD79-4 leaves the gap between ranks to the system
    n_rrd_s=4,
    n_rrd_l=6,
    n_faw=26,
    n_rfc=433,
    n_refi=9364,
    mapping=_MAPPING.mapping,
)
"""One channel of 64 bit at 2.4 Gb/s a pin, 19.2 GB/s; a row's columns are neighbours."""

DDR4_MOP4CLXOR = remap(DDR4_2400R, "mop4clxor", name="ddr4-2400r-mop4clxor")
"""The same channel, where four neighbours share a row."""

DDR4_PRESETS = {spec.name: spec for spec in (DDR4_2400R, DDR4_MOP4CLXOR)}
"""All presets by name."""
