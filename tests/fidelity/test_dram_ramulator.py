"""The DRAM model against Ramulator 2.1: total cycles of whole address streams.

Every HBM2 row of the results at hand is compared. Measured on the 50 known ones: one outstanding
read: all 25 equal to the clock. Saturated, one channel: 17 of 20 equal, the others -0.001, -0.013
and -0.44 %; Ramulator's front end sends at most 4 requests a clock, where ours arrive at once: that
explains the first two. Saturated, eight channels: regular streams equal, random ones 3.6 % shorter,
because there that front end is the limit.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.dram.hbm2 import HBM2_MOP4CLXOR, HBM2_ROBARACOCH
from sim.dram.model import Dram

pytestmark = pytest.mark.fidelity

GIVEN = os.environ.get("PRUNESIM_SHARED")
SHARED = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[3] / "shared"
FOLDER = SHARED / "oracles" / "ramulator"

ONE_CHANNEL_BOUND = 0.005  # saturated
MANY_CHANNELS_BOUND = 0.04  # saturated, where Ramulator's front end may be the limit
MAPPINGS = {
    "robaracoch": HBM2_ROBARACOCH.mapping,
    "mop4clxor": HBM2_MOP4CLXOR.mapping,
    "chrabaroco": (
        ("column", 5),
        ("row", 16),
        ("bank", 2),
        ("bank_group", 2),
        ("pseudo_channel", 1),
    ),
}
CONFIG = re.compile(r"hbm2_(\d+)ch_(\w+)_(ref|noref)")
STREAM = re.compile(r"(seq|stride)(\d+)_(\d+)k")

Row = dict[str, Any]


def rows(mode: str) -> list[Any]:
    """Return a mode's comparable rows as test parameters; without files, one that skips."""
    path = FOLDER / "results.jsonl"
    if not path.is_file():
        reason = f"no file {path}: set PRUNESIM_SHARED to the shared folder"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="missing")]
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        pytest.param(row, id=f"{row['config']}-{row['trace']}", marks=marks(row))
        for row in found
        if row["mode"] == mode
        and (match := CONFIG.fullmatch(row["config"]))
        and match[2] in MAPPINGS
    ]


def marks(row: Row) -> list[pytest.MarkDecorator]:
    """One read at a time takes seconds a row: a few rows stand for all in the quick suite."""
    quick = row["mode"] == "sat" or (row["config"].endswith("_ref") and "rand32" in row["trace"])
    return [] if quick else [pytest.mark.slow]


def device(config: str) -> Dram:
    channels, mapping, refresh = CONFIG.fullmatch(config).groups()
    bits = MAPPINGS[mapping]
    if channels != "1":
        place = len(bits) if mapping == "chrabaroco" else 0
        bits = (*bits[:place], ("channel", int(channels).bit_length() - 1), *bits[place:])
    base = HBM2_MOP4CLXOR if mapping == "mop4clxor" else HBM2_ROBARACOCH
    return Dram(
        base.override({"channels": int(channels), "mapping": bits, "refresh": refresh == "ref"})
    )


def stream(name: str) -> np.ndarray:
    """Return a run's transactions in order."""
    regular = STREAM.fullmatch(name)
    if regular is None:
        with np.load(FOLDER / "random_addresses.npz") as files:
            return (files[f"{name}_hbm2"] // 32).astype(np.int64)
    starts = int(regular[2]) * np.arange(int(regular[3]) * 1000)
    return (starts[:, None] + [0, 32]).ravel() // 32


@pytest.mark.parametrize("row", rows("sat"))
def test_saturated_stream(row: Row) -> None:
    addresses = stream(row["trace"])
    assert len(addresses) == row["requests"]
    cycles = int(device(row["config"]).read(addresses, 0).max())
    bound = ONE_CHANNEL_BOUND if "_1ch_" in row["config"] else MANY_CHANNELS_BOUND
    assert abs(cycles - row["cycles"]) <= bound * row["cycles"]


def test_most_saturated_streams_are_equal_to_the_clock() -> None:
    compared = [row for (row,) in (parameter.values for parameter in rows("sat")) if row]
    if not compared:
        pytest.skip(f"no results in {FOLDER}: set PRUNESIM_SHARED to the shared folder")
    single = [row for row in compared if "_1ch_" in row["config"]]
    equal = [
        row["cycles"] == device(row["config"]).read(stream(row["trace"]), 0).max() for row in single
    ]
    assert sum(equal) >= 0.8 * len(equal)


@pytest.mark.parametrize("row", rows("lat"))
def test_one_outstanding_read(row: Row) -> None:
    dram, clock = device(row["config"]), 0
    for address in stream(row["trace"]):
        clock = int(dram.read([address], clock)[0])
    assert clock == row["cycles"]
