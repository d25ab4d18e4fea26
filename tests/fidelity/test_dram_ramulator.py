"""The DRAM model against Ramulator 2.1: total cycles of whole address streams.

One outstanding read: all 25 runs equal to the clock. Saturated: 20 of 23 runs equal to the clock,
the three `INEXACT` ones within 0.5 % (measured -0.001, -0.013 and -0.44 %). Ramulator's front end
sends at most 4 requests a clock, where ours arrive at once: that explains the first two. Random
streams over 8 channels are not compared saturated, because there that front end is the limit
(we are 3.6 % faster).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.dram.hbm2 import HBM2_MOP4CLXOR, HBM2_ROBARACOCH
from sim.dram.model import Dram

pytestmark = pytest.mark.fidelity

SATURATED_BOUND = 0.005
INEXACT = {
    ("1ch_robaracoch_ref", "seq64"),
    ("1ch_robaracoch_noref", "seq64"),
    ("1ch_mop4clxor_ref", "stride2048"),
}
MAPPINGS = {"robaracoch": HBM2_ROBARACOCH, "mop4clxor": HBM2_MOP4CLXOR}
ONE_CHANNEL = [f"1ch_{name}_{refresh}" for name in MAPPINGS for refresh in ("ref", "noref")]
EIGHT_CHANNELS = "8ch_mop4clxor_ref"
REGULAR = ["seq64", "stride256", "stride2048"]
RANDOM = ["rand64", "rand32"]

Row = dict[str, Any]
Files = Callable[[str], list[Path]]


@pytest.fixture(scope="session")
def results(shared_files: Files) -> dict[tuple[str, str, str], Row]:
    """Return Ramulator's HBM2 runs by configuration, stream and mode."""
    (path,) = shared_files("oracles/ramulator/results.jsonl")
    rows = map(json.loads, path.read_text().splitlines())
    return {
        (row["config"].removeprefix("hbm2_"), row["trace"].removesuffix("_100k"), row["mode"]): row
        for row in rows
        if row["config"].startswith("hbm2")
    }


def device(config: str) -> Dram:
    channels, mapping, refresh = config.split("_")
    spec = MAPPINGS[mapping].override({"refresh": refresh == "ref"})
    if channels == "8ch":
        spec = spec.override({"channels": 8, "mapping": (("channel", 3), *spec.mapping)})
    return Dram(spec)


def stream(name: str, shared_files: Files) -> np.ndarray:
    """Return a run's transactions in order."""
    if name in RANDOM:
        (path,) = shared_files("oracles/ramulator/random_addresses.npz")
        with np.load(path) as files:
            return (files[f"{name}_100k_hbm2"] // 32).astype(np.int64)
    step = 64 if name == "seq64" else int(name.removeprefix("stride"))
    starts = step * np.arange(100_000)
    return (starts[:, None] + [0, 32]).ravel() // 32


@pytest.mark.parametrize(
    ("config", "name"),
    [(config, name) for config in ONE_CHANNEL for name in REGULAR + RANDOM]
    + [(EIGHT_CHANNELS, name) for name in REGULAR],
)
def test_saturated_stream(
    config: str, name: str, results: dict[tuple[str, str, str], Row], shared_files: Files
) -> None:
    row, addresses = results[config, name, "sat"], stream(name, shared_files)
    assert len(addresses) == row["requests"]
    cycles = int(device(config).read(addresses, 0).max())
    bound = SATURATED_BOUND if (config, name) in INEXACT else 0
    assert abs(cycles - row["cycles"]) <= bound * row["cycles"]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        pytest.param(
            config,
            name,
            marks=[] if config.endswith("_ref") and name == "rand32" else pytest.mark.slow,
        )
        for config in [*ONE_CHANNEL, EIGHT_CHANNELS]
        for name in REGULAR + RANDOM
    ],
)
def test_one_outstanding_read(
    config: str, name: str, results: dict[tuple[str, str, str], Row], shared_files: Files
) -> None:
    dram, clock = device(config), 0
    for address in stream(name, shared_files):
        clock = int(dram.read([address], clock)[0])
    assert clock == results[config, name, "lat"]["cycles"]
