"""The DRAM model against Ramulator 2.1: clocks of whole address streams, HBM2 and DDR4.

Every row of the results at hand is compared: total cycles, and the mean of a read's latency from
the clock at which its queue took it. Measured on the 82 known ones, regular and random streams,
one and eight channels, with and without refresh: cycles, mean, minimum and maximum are all equal.
Rows whose names the patterns below do not describe skip with a reason.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.mapping import MAPPINGS, remap
from sim.dram.model import Dram, Served
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
CONSTRAINT = re.compile(r"- \[(\d), \[([\d, ]+)\], \[([\d, ]+)\], (\d+)(?:, (\d+))?(?:, (true))?\]")
LEVEL_CHANNEL, LEVEL_RANK, LEVEL_GROUP, LEVEL_BANK = range(4)
ACT, PRE, PRE_ALL, READ, REFRESH = 0, 1, 2, 3, 7  # Ramulator's numbers of HBM2 and DDR4 commands

Row = dict[str, Any]


def rows() -> list[Any]:
    """Return all rows as test parameters; without files, one that skips."""
    path = FOLDER / "results.jsonl"
    if not path.is_file():
        return [pytest.param({}, marks=missing(path), id="missing")]
    found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [pytest.param(row, id=f"{row['config']}-{row['trace']}-{row['mode']}") for row in found]


def configurations() -> list[Any]:
    """Return the names of the resolved configurations; without files, one that skips."""
    found = sorted(path.stem for path in FOLDER.glob("configs/*.yaml"))
    return found or [pytest.param("", marks=missing(FOLDER / "configs"), id="missing")]


def missing(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skip(reason=f"no file {path}: set PRUNESIM_SHARED to the shared folder")


def resolved(config: str) -> str:
    """Return the text of a resolved configuration, empty where there is none."""
    path = FOLDER / "configs" / f"{config}.yaml"
    return path.read_text() if path.is_file() else ""


def device(config: str) -> DramSpec:
    """Return the device that a configuration's name describes."""
    known = CONFIG.fullmatch(config)
    if known is None:
        pytest.skip(f"configuration {config!r} is not of the form {CONFIG.pattern}")
    kind, channels, mapping, refresh = known.groups()
    count = int(channels)
    changes = {"refresh": refresh == "ref"}
    if "impl: CacheLineInterleave" not in resolved(config) or count == 1:
        return remap(DEVICES[kind], mapping, channels=count, **changes)
    one = remap(DEVICES[kind], mapping, channels=1, **changes)  # channels lie below the mapping
    bits = ("channel", count.bit_length() - 1)
    return one.override({"channels": count, "mapping": (bits, *one.mapping)})


def stream(trace: str, spec: DramSpec) -> np.ndarray:
    """Return a run's transactions in order; what lies beyond the device wraps."""
    size = spec.transaction_bytes
    regular = REGULAR.fullmatch(trace)
    if regular is None:
        name = f"{trace}_{spec.name.partition('-')[0]}"
        with np.load(FOLDER / RANDOM) as files:
            if name not in files:
                pytest.skip(f"stream {trace!r} is neither regular nor {name!r} in {RANDOM}")
            addresses = files[name].astype(np.int64)
    else:
        starts = int(regular[1]) * np.arange(int(regular[2]) * 1000)
        addresses = (starts[:, None] + np.arange(0, ACCESS_BYTES, size)).ravel()
    return addresses // size % spec.transactions


def served(row: Row) -> Served:
    """Send a row's stream as Ramulator's driver did: four a clock, or two for each channel."""
    spec = device(row["config"])
    addresses = stream(row["trace"], spec)
    assert (len(addresses), spec.transaction_bytes) == (row["requests"], row["tx_bytes"])
    sends = max(4, 2 * spec.channels)
    return Dram(spec).stream(addresses, sends, OUTSTANDING[row["mode"]])


@pytest.mark.parametrize("row", rows())
def test_cycles_and_latency(row: Row) -> None:
    accepted, done = served(row)
    cycles, mean = int(done.max()), float((done - accepted).mean())
    assert abs(cycles - row["cycles"]) <= CYCLES_BOUND * row["cycles"]
    expected = row["avg_read_latency_cycles"]
    assert abs(mean - expected) <= LATENCY_BOUND * expected


def test_most_saturated_streams_are_equal_to_the_clock() -> None:
    given = [row for (row,) in (parameter.values for parameter in rows()) if row]
    given = [row for row in given if row["mode"] == "sat" and CONFIG.fullmatch(row["config"])]
    single = [row for row in given if "_1ch_" in row["config"]]
    if not single:
        pytest.skip(f"no saturated rows of one channel in {FOLDER}")
    equal = []
    for row in single:
        accepted, done = served(row)
        mean = float((done - accepted).mean())
        same_mean = abs(mean - row["avg_read_latency_cycles"]) <= 0.001  # written in three digits
        equal.append(row["cycles"] == done.max() and same_mean)
    assert sum(equal) >= 0.8 * len(equal)


@pytest.mark.parametrize("config", configurations())
def test_timings_are_the_resolved_ones(config: str) -> None:
    spec, text = device(config), resolved(config)
    assert f"read_latency: {spec.read_latency_cycles}\n" in text
    assert f"read_buffer_size: {spec.queue_depth}\n" in text
    assert f", {spec.n_refi}, " in text
    assert f"count: [1, {sizes(spec)}, " in text
    given: dict[tuple[int, int, int, int, bool], int] = {}
    for level, before, after, cycles, window, sibling in CONSTRAINT.findall(text):
        for first in before.split(", "):
            for second in after.split(", "):
                key = (int(level), int(first), int(second), int(window or 1), bool(sibling))
                given[key] = int(cycles)
    late = spec.act_cycles - 1  # ACT counts from its last clock
    expected = {
        (LEVEL_RANK, READ, READ, 1, False): max(spec.n_ccd_s, spec.n_bl),
        (LEVEL_RANK, READ, PRE_ALL, 1, False): spec.n_rtp,
        (LEVEL_RANK, ACT, ACT, 1, False): spec.n_rrd_s,
        (LEVEL_RANK, ACT, ACT, 4, False): spec.n_faw,
        (LEVEL_RANK, ACT, PRE_ALL, 1, False): spec.n_ras + late,
        (LEVEL_RANK, PRE_ALL, ACT, 1, False): spec.n_rp - late,
        (LEVEL_RANK, ACT, REFRESH, 1, False): spec.n_rc + late,
        (LEVEL_RANK, PRE, REFRESH, 1, False): spec.n_rp,
        (LEVEL_RANK, REFRESH, ACT, 1, False): spec.n_rfc - late,
        (LEVEL_GROUP, READ, READ, 1, False): spec.n_ccd_l,
        (LEVEL_GROUP, ACT, ACT, 1, False): spec.n_rrd_l,
        (LEVEL_BANK, ACT, ACT, 1, False): spec.n_rc,
        (LEVEL_BANK, ACT, READ, 1, False): spec.n_rcd + late,
        (LEVEL_BANK, ACT, PRE, 1, False): spec.n_ras + late,
        (LEVEL_BANK, PRE, ACT, 1, False): spec.n_rp - late,
        (LEVEL_BANK, READ, PRE, 1, False): spec.n_rtp,
    }
    if spec.command_buses == 1:
        expected[LEVEL_CHANNEL, READ, READ, 1, False] = spec.n_bl
        expected[LEVEL_RANK, READ, READ, 1, True] = spec.n_bl + spec.n_cs
    assert {key: given.get(key) for key in expected} == expected


def sizes(spec: DramSpec) -> str:
    """Return the organisation as the files write it, but for the columns."""
    ranks = spec.pseudo_channels * spec.ranks
    return ", ".join(map(str, (ranks, spec.bank_groups, spec.banks, spec.rows)))
