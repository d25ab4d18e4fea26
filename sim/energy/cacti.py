"""SRAM: energy, leakage and area of a RAM of any size, between points computed by CACTI.

CACTI 7 (HewlettPackard/cacti, commit 1ffd8df): plain RAM, one read and one write port, one bank,
no ECC, 350 K, default weights, 40 nm. Between the points values are linear in log(bytes) and
log(width). Good for ratios, within a factor of two in absolute terms.

The cells are `itrs-hp`, CACTI's default: at 40 nm the less leaky `itrs-lstp` cycles in 1 ns only
up to 8 KiB, so it could not serve machines of any size. They leak much: 0.09 uW a bit, where
lstp leaks 0.03 nW.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SOURCE = "CACTI 7, 40 nm itrs-hp, 1r1w, 350 K"
MIN_BYTES, MAX_BYTES = 1 << 10, 1 << 18
MIN_WIDTH_BITS, MAX_WIDTH_BITS = 64, 256

_POINTS: dict[tuple[int, int], tuple[float, float, float, float]] = {
    # bytes, bits: read pJ, write pJ, leakage mW, area mm2
    (1 << 10, 64): (1.32761, 2.8435, 0.901953, 0.006016),
    (1 << 12, 64): (2.84801, 5.28986, 4.00153, 0.022302),
    (1 << 13, 64): (5.2465, 6.41425, 7.4468, 0.042217),
    (1 << 14, 64): (10.0153, 8.63483, 13.7847, 0.080781),
    (1 << 16, 64): (19.9905, 17.368, 54.7632, 0.322961),
    (1 << 18, 64): (38.4177, 31.9409, 203.337, 1.361316),
    (1 << 10, 256): (7.13564, 8.51017, 1.05828, 0.020922),
    (1 << 12, 256): (8.15582, 14.2194, 3.82881, 0.0347),
    (1 << 13, 256): (9.38533, 21.701, 7.51638, 0.052944),
    (1 << 14, 256): (12.076, 36.8958, 14.8302, 0.089159),
    (1 << 16, 256): (44.4055, 54.0926, 50.6994, 0.327621),
    (1 << 18, 256): (93.9297, 103.617, 202.798, 1.577566),
}


@dataclass(frozen=True)
class Rams:
    """A memory made of equal RAMs, of which one access uses `active`; energies are of one RAM."""

    bytes: float
    width_bits: float
    count: int
    active: int
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float

    @property
    def read_pj_per_bit(self) -> float:
        return self.read_pj / self.width_bits

    @property
    def write_pj_per_bit(self) -> float:
        return self.write_pj / self.width_bits

    @property
    def text(self) -> str:
        """Organisation, for sources."""
        plural = "s" if self.count > 1 else ""
        size = f"{self.bytes:.0f} B x {self.width_bits:.0f} bit"
        return f"{SOURCE}: {self.count} RAM{plural} of {size}"


@lru_cache(maxsize=1024)
def organise(size_bytes: int, line_bits: int, planes: int = 1, banks: int = 1) -> Rams:
    """Return a memory as RAMs that CACTI can describe.

    Every bit plane and bank is a RAM of its own. A plane wider than 256 bits is cut into equal
    RAMs; planes narrower than 64 bits share one, whose words hold several lines if need be; RAMs
    above 256 KiB are cut into banks, and one below 1 KiB costs as much as one of 1 KiB.

    Args:
        size_bytes: of the whole memory.
        line_bits: of one access, over all planes.
        planes, banks: into which it is divided.
    """
    across = min(max(planes, -(-line_bits // MAX_WIDTH_BITS)), max(1, line_bits // MIN_WIDTH_BITS))
    if across > planes:  # every plane is cut into the same number of RAMs
        across = -(-across // planes) * planes
    down = max(banks, -(-size_bytes // (across * MAX_BYTES)))
    width = max(line_bits / across, MIN_WIDTH_BITS)
    size = max(size_bytes / (across * down), MIN_BYTES)
    share = float(np.log(width / MIN_WIDTH_BITS) / np.log(MAX_WIDTH_BITS / MIN_WIDTH_BITS))
    narrow, wide = (_at(size, bits) for bits in (MIN_WIDTH_BITS, MAX_WIDTH_BITS))
    values = np.exp((1 - share) * narrow + share * wide).tolist()
    return Rams(size, width, across * down, across, *values)


def _at(size_bytes: float, width_bits: int) -> np.ndarray:
    """Return the logarithms of the four values, linear in log(bytes)."""
    sizes = sorted(size for size, bits in _POINTS if bits == width_bits)
    values = np.log([_POINTS[size, width_bits] for size in sizes])
    return np.array([np.interp(np.log(size_bytes), np.log(sizes), column) for column in values.T])
