"""HBM2 presets.

Timing: Ramulator 2.1 (commit c5b1c3a), preset HBM2_2000Mbps with HBM2_8Gb: primary timings of a
2 Gb/s part, secondary ones from JESD235D (tRRD 4 ns, tRFC 350 ns, tREFI 3.9 us), tFAW 15 ns as
vendors quote it. Organisation: 128-bit channels as two 64-bit pseudo-channels, 4 groups of
4 banks, rows of 1 KiB per pseudo-channel (O'Connor et al., MICRO 2017, section 2).
"""

from __future__ import annotations

from sim.dram.mapping import remap
from sim.dram.spec import DramSpec

HBM2_2GBPS = DramSpec(
    name="hbm2-2gbps",
    channels=16,  # SpAtten, HPCA 2021, table I: 16 channels, 32 GB/s each
    pseudo_channels=2,
    bank_groups=4,
    banks=4,
    rows=65536,
    columns=32,
    transaction_bytes=32,
    t_ck_ns=1.0,
    n_bl=2,
    n_cl=14,
    n_rcd=14,
    n_rp=14,
    n_ras=34,
    n_rc=48,
    n_rtp=5,
    n_ccd_s=2,
    n_ccd_l=4,
    n_rrd_s=4,
    n_rrd_l=4,
    n_faw=15,
    n_rfc=350,
    n_refi=3900,
    act_cycles=2,
    mapping=(
        ("channel", 4),  # 32 B each, as the released SpAtten RTL interleaves
        ("pseudo_channel", 1),
        ("bank_group", 2),
        ("column", 5),
        ("bank", 2),
        ("row", 16),
    ),
)
"""SpAtten's memory: 16 channels of 128 bit at 2 Gb/s a pin, 512 GB/s.

A sequential stream visits the channels in turn and, within one, both pseudo-channels and all bank
groups, so that the long CAS distance of a bank group never limits it.
"""

U280_HBM2 = HBM2_2GBPS.override(
    {
        "name": "hbm2-u280",
        "rows": 16384,  # 32 pseudo-channels of 256 MB: 8 GB (AMD UG1393)
        "t_ck_ns": 1 / 0.9,  # 1.8 Gb/s a pin: 460.8 GB/s, which AMD quotes as 460
        "n_cl": 13,  # the other preset's nanoseconds, rounded up to this clock
        "n_rcd": 13,
        "n_rp": 13,
        "n_ras": 31,
        "n_rc": 44,
        "n_faw": 14,
        "n_rfc": 234,  # 260 ns: a channel has 4 Gb (JESD235, by density)
        "n_refi": 3510,
        "mapping": (
            ("bank_group", 2),
            ("column", 5),
            ("bank", 2),
            ("row", 14),
            ("pseudo_channel", 1),
            ("channel", 4),
        ),
    }
)
"""Memory of an Alveo U280: 16 channels of 2 pseudo-channels, each with its own address range.

Timing: as `HBM2_2GBPS`, in ns, but for the density. AMD's controllers give no address mapping for
a user's settings; within a pseudo-channel neighbours alternate between the bank groups here.
"""

HBM2_ROBARACOCH = remap(HBM2_2GBPS, "robaracoch", name="hbm2-2gbps-1ch-robaracoch", channels=1)
"""One channel where a row's columns are neighbours."""

HBM2_MOP4CLXOR = remap(HBM2_2GBPS, "mop4clxor", name="hbm2-2gbps-1ch-mop4clxor", channels=1)
"""One channel where four neighbours share a row."""

HBM2_PRESETS = {
    spec.name: spec for spec in (HBM2_2GBPS, U280_HBM2, HBM2_ROBARACOCH, HBM2_MOP4CLXOR)
}
"""All presets by name."""
