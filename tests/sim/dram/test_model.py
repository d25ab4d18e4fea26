from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher

from sim.dram import channel_kernel, kernel
from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.mapping import remap
from sim.dram.model import Dram
from sim.dram.presets import PRESETS
from sim.dram.spec import FIELDS, DramSpec

SMALL = HBM2_2GBPS.override(
    {
        "name": "small",
        "channels": 2,
        "rows": 4,
        "mapping": (("channel", 1), *HBM2_2GBPS.mapping[1:-1], ("row", 2)),
    }
)

RANKS = remap(DDR4_2400R, "mop4clxor", name="ranks", channels=2, ranks=2, rows=4)


def place(spec: DramSpec, address: int) -> dict[str, int]:
    """Return where a transaction lies: the mapping, done slowly."""
    found, used = dict.fromkeys(FIELDS, 0), dict.fromkeys(FIELDS, 0)
    for field, bits in spec.mapping:
        found[field] += (address % 2**bits) << used[field]
        used[field] += bits
        address //= 2**bits
    column = found["column"]
    for field in spec.xor:
        found[field] ^= column % 2 ** used[field]
        column //= 2 ** used[field]
    return found


def calls(seed: int, spec: DramSpec, count: int = 300) -> list[tuple[np.ndarray, int]]:
    """Return calls of random size and locality at random times."""
    rng = np.random.default_rng(seed)
    made, clock = [], 0
    while sum(len(addresses) for addresses, _ in made) < count:
        size = int(rng.integers(0, 80))
        start = rng.integers(0, spec.transactions)
        spread = int(rng.choice([1, 7, 1024, spec.transactions]))
        steps = rng.integers(0, spread + 1, size)
        made.append(((start + np.cumsum(steps)) % spec.transactions, clock))
        clock += int(rng.choice([0, 5, 300, 5000, 50_000]))
    return made


def replay(spec: DramSpec, made: list[tuple[np.ndarray, int]]) -> tuple[Dram, np.ndarray]:
    dram = Dram(spec)
    return dram, np.concatenate([dram.read(addresses, clock) for addresses, clock in made])


@given(st.integers(0, 2**32), st.sampled_from([True, False]))
@settings(max_examples=25)
def test_data_pins_and_requests_are_conserved(seed: int, refresh: bool) -> None:
    spec = SMALL.override({"refresh": refresh})
    made = calls(seed, spec)
    dram, done = replay(spec, made)
    addresses = np.concatenate([part for part, _ in made])
    arrivals = np.concatenate([np.full(len(part), clock) for part, clock in made])
    places = [place(spec, int(address)) for address in addresses]
    channel = np.array([where["channel"] for where in places])
    half = channel * 2 + [where["pseudo_channel"] for where in places]
    group = half * 4 + [where["bank_group"] for where in places]

    counters = dram.counters
    total = counters.row_hits + counters.row_misses + counters.row_conflicts
    assert (counters.requests == np.bincount(channel, minlength=2)).all()
    assert (total == counters.requests).all()
    assert (counters.bytes == 32 * counters.requests).all()
    assert (counters.activates >= counters.row_conflicts).all()
    assert (done - arrivals >= spec.queue_cycles + spec.read_latency_cycles).all()
    for key, least in ((channel, 1), (half, spec.n_bl), (group, spec.n_ccd_l)):
        for value in np.unique(key):
            assert (np.diff(np.sort(done[key == value])) >= least).all()


def test_compiled_and_plain_python_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [
        SMALL,
        SMALL.override({"refresh": False, "queue_depth": 3}),
        RANKS,
        RANKS.override({"queue_depth": 2, "queue_cycles": 0}),
    ]

    def replay_all() -> list[tuple[Dram, np.ndarray]]:
        return [both_ways(spec, seed) for spec in specs for seed in range(2)]

    expected = replay_all()
    for module in (channel_kernel, kernel):
        for name, value in list(vars(module).items()):
            if isinstance(value, Dispatcher):
                monkeypatch.setattr(module, name, value.py_func)
    for (dram, clocks), (plain, plain_clocks) in zip(expected, replay_all(), strict=True):
        assert (clocks == plain_clocks).all()
        for name, counts in vars(dram.counters).items():
            assert (counts == getattr(plain.counters, name)).all(), name


def both_ways(spec: DramSpec, seed: int) -> tuple[Dram, np.ndarray]:
    """Return what calls and then a stream in chunks take."""
    made = calls(seed, spec, 150)
    dram, done = replay(spec, made)
    parts = dram.stream_chunks([addresses for addresses, _ in made], sends_per_cycle=seed + 1)
    return dram, np.concatenate([done, *(np.concatenate(part) for part in parts)])


@pytest.mark.parametrize("spec", [*PRESETS.values(), RANKS], ids=lambda spec: spec.name)
def test_mapping_puts_transactions_where_it_says(spec: DramSpec) -> None:
    addresses = np.random.default_rng(5).integers(0, spec.transactions, 200)
    places = np.empty((4, 200), np.int64)
    kernel.locate_all(addresses, Dram(spec)._mapping, places)
    for i, address in enumerate(addresses):
        where = place(spec, int(address))
        rank = where["pseudo_channel"] * spec.ranks + where["rank"]
        bank = (rank * spec.bank_groups + where["bank_group"]) * spec.banks + where["bank"]
        assert places[:, i].tolist() == [where["channel"], bank, where["row"], where["column"]]


def test_a_sequential_stream_reaches_the_pins_limit() -> None:
    dram = Dram(HBM2_2GBPS.override({"refresh": False}))
    count = 1 << 17
    cycles = int(dram.read(np.arange(count), 0).max())
    peak_cycles = count / 16  # one transaction per channel and clock
    assert peak_cycles < cycles < 1.02 * peak_cycles + 32
    assert dram.counters.requests.tolist() == [count // 16] * 16
    assert dram.counters.activates.sum() == count // 32  # each row once


@pytest.mark.parametrize("size", [1024, 2048])
def test_a_stream_in_calls_takes_as_long_as_in_one(size: int) -> None:
    stream = np.arange(1 << 16)
    whole = int(Dram(HBM2_2GBPS).read(stream, 0).max())
    dram = Dram(HBM2_2GBPS)
    parts = [dram.read(part, 0) for part in np.array_split(stream, len(stream) // size)]
    assert int(max(done.max() for done in parts)) == pytest.approx(whole, rel=0.05)


def test_an_idle_gap_is_refreshed_but_not_stepped_through() -> None:
    arrival = 3900 * 10**9 + 2000
    dram = Dram(SMALL)
    assert dram.read([0], arrival).tolist() == [arrival + 32]
    assert dram.counters.refreshes.tolist() == [2 * 10**9, 0]


def test_a_gap_in_steps_is_the_same_gap() -> None:
    jump, steps = Dram(SMALL), Dram(SMALL)
    for dram in (jump, steps):
        dram.read([0, 1], 0)
    for clock in range(0, 100_000, 1000):
        steps.finish(clock)
    assert (jump.read([0, 1], 101_400) == steps.read([0, 1], 101_400)).all()
    assert (jump.counters.refreshes == steps.counters.refreshes).all()
    assert jump.counters.refreshes.tolist() == [2 * 26] * 2  # 26 x 3900 = 101,400, due on arrival


def test_finish_counts_the_refreshes_of_every_channel() -> None:
    dram = Dram(SMALL)
    dram.finish(3900 * 5 + 1)
    assert dram.counters.refreshes.tolist() == [10, 10]


def test_an_ideal_memory_answers_at_once() -> None:
    dram = Dram(HBM2_2GBPS.override({"ideal": "true"}))
    assert dram.spec.ideal_name == "IdealMemory"
    assert dram.read(np.arange(48), 7).tolist() == [7] * 48
    dram.finish(10**6)
    assert dram.counters.requests.tolist() == [3] * 16
    assert dram.counters.row_hits.tolist() == [3] * 16
    assert dram.counters.refreshes.sum() == dram.counters.activates.sum() == 0


def test_no_requests_change_nothing() -> None:
    dram = Dram(SMALL)
    assert dram.read(np.empty(0, np.int64), 10**6).tolist() == []
    assert dram.counters.refreshes.sum() == 0


def test_wrong_calls_are_refused() -> None:
    dram = Dram(SMALL)
    last = SMALL.transactions - 1
    with pytest.raises(ValueError, match=rf"^DRAM addresses must be in 0\.\.{last}, not 0\.\."):
        dram.read([0, last + 1], 0)
    with pytest.raises(ValueError, match=r"not -1\.\.5$"):
        dram.read([-1, 5], 0)
    dram.read([0], 100)
    with pytest.raises(ValueError, match=r"^DRAM arrival must be at least 100, not 99$"):
        dram.read([0], 99)
