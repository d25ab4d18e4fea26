"""The DRAM model against Ramulator 2.1: clocks of whole address streams, HBM2 and DDR4.

Every row of the results at hand is compared: total cycles, and the mean of a read's latency from
the clock at which its queue took it. Rows of devices and streams that the names below do not
describe skip with a reason.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.mapping import MAPPINGS, remap
from sim.dram.model import Dram, _timing
from sim.dram.spec import DramSpec

pytestmark = pytest.mark.fidelity

GIVEN = os.environ.get("PRUNESIM_SHARED")
SHARED = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[3] / "shared"
FOLDER = SHARED / "oracles" / "ramulator"

CYCLES_BOUND = 0.02
LATENCY_BOUND = 0.03
OUTSTANDING = {"sat": None, "lat": 1}
DEVICES = {"hbm2": HBM2_2GBPS, "ddr4": DDR4_2400R}
CONFIG = re.compile(rf"({'|'.join(DEVICES)})_(\d+)ch_({'|'.join(MAPPINGS)})_(ref|noref)")
REGULAR = re.compile(r"(?:seq|stride)(\d+)_(\d+)k")
ACCESS_BYTES = 64
RANDOM = "random_addresses.npz"

Row = dict[str, Any]


def rows() -> list[Any]:
    """Return all rows as test parameters; without files, one that skips."""
    path = FOLDER / "results.jsonl"
    if not path.is_file():
        reason = f"no file {path}: set PRUNESIM_SHARED to the shared folder"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="missing")]
    found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [
        pytest.param(row, id=f"{row['config']}-{row['trace']}-{row['mode']}") for row in found
    ]


def configurations() -> list[str]:
    """Return the names of the configurations at hand."""
    return sorted(path.stem for path in FOLDER.glob("configs/*.yaml"))


def device(config: str) -> DramSpec:
    """Return the device that a configuration's name describes."""
    known = CONFIG.fullmatch(config)
    if known is None:
        pytest.skip(f"configuration {config!r} is not of the form {CONFIG.pattern}")
    kind, channels, mapping, refresh = known.groups()
    single = remap(DEVICES[kind], mapping, channels=1, refresh=refresh == "ref")
    if channels == "1":
        return single
    bits = ("channel", int(channels).bit_length() - 1)
    low = mapping != "chrabaroco" or interleaves(config)
    split = (bits, *single.mapping) if low else (*single.mapping, bits)
    return single.override({"channels": int(channels), "mapping": split})


def interleaves(config: str) -> bool:
    """Tell whether the channel is chosen before the mapping, by the lowest address bits."""
    path = FOLDER / "configs" / f"{config}.yaml"
    return path.is_file() and "impl: CacheLineInterleave" in path.read_text()


def stream(trace: str, spec: DramSpec) -> np.ndarray:
    """Return a run's transactions in order; addresses beyond the device wrap."""
    size = spec.transaction_bytes
    regular = REGULAR.fullmatch(trace)
    if regular is None:
        kind = spec.name.partition("-")[0]
        with np.load(FOLDER / RANDOM) as files:
            if f"{trace}_{kind}" not in files:
                pytest.skip(f"stream {trace!r} is neither regular nor in {RANDOM}")
            addresses = files[f"{trace}_{kind}"].astype(np.int64)
    else:
        starts = int(regular[1]) * np.arange(int(regular[2]) * 1000)
        addresses = (starts[:, None] + np.arange(0, ACCESS_BYTES, size)).ravel()
    return addresses // size % spec.transactions


@pytest.mark.parametrize("row", rows())
def test_cycles_and_latency(row: Row) -> None:
    spec = device(row["config"])
    addresses = stream(row["trace"], spec)
    assert len(addresses) == row["requests"]
    assert spec.transaction_bytes == row["tx_bytes"]
    served = Dram(spec).stream(addresses, outstanding=OUTSTANDING[row["mode"]])
    cycles, latencies = int(served.done.max()), served.done - served.accepted
    assert abs(cycles - row["cycles"]) <= CYCLES_BOUND * row["cycles"]
    mean = row["avg_read_latency_cycles"]
    assert abs(latencies.mean() - mean) <= LATENCY_BOUND * mean
