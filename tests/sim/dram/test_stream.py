"""Streams in order: when requests are taken, and that chunks do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.mapping import remap
from sim.dram.model import Dram
from sim.dram.spec import DramSpec

TWO_CHANNELS = remap(HBM2_2GBPS, "chrabaroco", channels=2, rows=64, refresh=False)
RANKS = remap(DDR4_2400R, "mop4clxor", channels=2, ranks=2, rows=64)


def at(channel: int = 0, group: int = 0, bank: int = 0, row: int = 0, column: int = 0) -> int:
    """Return the transaction at a place, under TWO_CHANNELS' mapping."""
    return column | row << 5 | bank << 11 | group << 13 | channel << 16


def dram(**changes: Any) -> Dram:
    return Dram(TWO_CHANNELS.override(changes))


def random_stream(seed: int, spec: DramSpec, count: int) -> np.ndarray:
    """Return addresses of changing locality."""
    rng = np.random.default_rng(seed)
    spread = rng.choice([1, 2, 64, spec.transactions], count)
    return np.cumsum(rng.integers(0, spread + 1)) % spec.transactions


@pytest.mark.parametrize(
    ("sends", "accepted"), [(1, [0, 1, 2, 3, 4]), (2, [0, 0, 1, 1, 2]), (None, [0] * 5)]
)
def test_so_many_requests_are_sent_a_clock(sends: int | None, accepted: list[int]) -> None:
    assert dram().stream([0, 1, 2, 3, 4], sends).accepted.tolist() == accepted


def test_a_full_queue_holds_up_all_that_follow() -> None:
    rows = [at(row=0), at(row=1), at(row=2), at(channel=1)]
    # ACT at 1 and, after PRE at 36, 49, free the only place for the next
    served = dram(queue_depth=1).stream(rows)
    assert served.accepted.tolist() == [0, 1, 49, 49]
    assert served.done.tolist() == [32, 80, 128, 49 + 32]
    assert dram(queue_depth=1).read(rows, 0).tolist() == [32, 80, 128, 32]  # channels apart


def test_a_queue_holds_its_depth() -> None:
    served = dram(queue_depth=3).stream([at(row=row) for row in range(5)])
    assert served.accepted.tolist() == [0, 0, 0, 1, 49]


def test_queue_cycles_pass_before_the_first_command() -> None:
    served = dram(queue_cycles=3).stream([at()], arrival_cycle=100)
    assert (served.accepted.tolist(), served.done.tolist()) == ([100], [100 + 3 + 15 + 16])


def test_one_outstanding_read_waits_for_the_last() -> None:
    addresses = random_stream(1, TWO_CHANNELS, 300)
    accepted, done = dram(refresh=True).stream(addresses, outstanding=1)
    assert (accepted[1:] == done[:-1]).all()
    device, clock = dram(refresh=True), 0
    for i, address in enumerate(addresses):
        assert accepted[i] == clock
        clock = int(device.read([address], clock)[0])
        assert done[i] == clock


def test_outstanding_reads_are_counted() -> None:
    hits = [at(column=column) for column in range(6)]
    accepted, done = dram().stream(hits, outstanding=2)
    assert done.tolist() == [32, 36, 49, 53, 66, 70]  # a row hit takes 17, CCD_L is 4
    assert accepted.tolist() == [0, 0, 32, 36, 49, 53]


@pytest.mark.parametrize(("sends", "older_first"), [(None, False), (1, True)])
def test_opened_rows_of_requests_taken_together_go_by_activation(
    sends: int | None, older_first: bool
) -> None:
    device = dram(n_ccd_s=60)
    for place in (at(row=1), at(group=2)):
        device.read([place], 0)
    # RD of a hit; PRE of the second's bank, ACT of the third's, ACT of the second's; RD of both
    served = device.stream([at(group=2, column=1), at(row=2), at(group=1)], sends, None, 1000)
    first, second = 1001 + 60 + 16, 1001 + 120 + 16
    assert served.done.tolist() == [1017, *([first, second] if older_first else [second, first])]


@given(st.integers(0, 2**32), st.sampled_from([TWO_CHANNELS, RANKS]), st.integers(1, 400))
@settings(max_examples=30, deadline=None)
def test_chunks_do_not_matter(seed: int, spec: DramSpec, size: int) -> None:
    addresses = random_stream(seed, spec, 1000)
    sends, outstanding = [(None, None), (4, None), (2, 7), (1, 1)][seed % 4]
    whole, parts = Dram(spec), Dram(spec)
    expected = whole.stream(addresses, sends, outstanding)
    chunks = [addresses[:0], *np.array_split(addresses, range(size, 1000, size)), addresses[:0]]
    served = list(parts.stream_chunks(chunks, sends, outstanding))
    for field in ("accepted", "done"):
        joined = np.concatenate([getattr(part, field) for part in served])
        assert (joined == getattr(expected, field)).all()
    assert (parts.counters.activates == whole.counters.activates).all()
    assert whole.read([0], 10**6) == parts.read([0], 10**6)


@given(st.integers(0, 2**32), st.sampled_from([TWO_CHANNELS, RANKS]))
@settings(max_examples=20, deadline=None)
def test_requests_are_taken_in_order_and_complete(seed: int, spec: DramSpec) -> None:
    addresses = random_stream(seed, spec, 800)
    device = Dram(spec)
    accepted, done = device.stream(addresses, sends_per_cycle=3)
    assert (np.diff(accepted) >= 0).all()
    assert (np.bincount(accepted) <= 3).all()
    assert (done - accepted >= spec.queue_cycles + spec.read_latency_cycles).all()
    assert device.counters.requests.sum() == 800
    for clock in accepted[::50]:  # a queue and its opened rows hold so many
        waiting = np.count_nonzero((accepted <= clock) & (done - spec.read_latency_cycles > clock))
        assert waiting <= spec.channels * (spec.queue_depth + spec.banks_per_channel)


def test_what_is_kept_between_chunks_is_bounded() -> None:
    served = dram().stream_chunks(np.array_split(random_stream(3, TWO_CHANNELS, 20_000), 20))
    sizes = [len(part.done) for part in served]
    assert sum(sizes) == 20_000
    assert min(sizes) > 1000 - 2 * (32 + 32) - 600  # the oldest may wait while 600 overtake it


def test_a_stream_begins_after_the_calls_before() -> None:
    device = dram(refresh=True)
    device.read([at(row=1)], 5000)
    accepted, done = device.stream([at(row=1, column=1)])
    assert (accepted.tolist(), done.tolist()) == ([5000], [5000 + 32 + 4])
    with pytest.raises(ValueError, match=r"^DRAM arrival must be at least 5000, not 4999$"):
        device.stream([0], arrival_cycle=4999)


def test_a_refresh_in_the_idle_time_before_a_stream_is_timed() -> None:
    whole, idle = dram(refresh=True), dram(refresh=True)
    for device in (whole, idle):
        device.read([at()], 0)
    idle.finish(3890)
    for device in (whole, idle):
        assert device.stream([at(column=1)], arrival_cycle=4000).done.tolist() == [
            3900 + 14 + 349 + 15 + 16
        ]


def test_a_refresh_that_began_in_a_stream_is_ended() -> None:
    device = dram(refresh=True)
    assert device.stream([at()], arrival_cycle=3898).done.tolist() == [3899 + 15 + 16]
    assert device.counters.refreshes.tolist() == [2, 2]
    assert device.read([at(column=1)], 6000).tolist() == [6000 + 32]


def test_an_ideal_memory_answers_at_once() -> None:
    device = dram(ideal=True)
    accepted, done = device.stream(np.arange(40), arrival_cycle=7)
    assert accepted.tolist() == done.tolist() == [7] * 40
    assert device.counters.requests.tolist() == [40, 0]


def test_an_empty_stream_takes_no_time() -> None:
    accepted, done = dram().stream([])
    assert accepted.size == done.size == 0


def test_an_unfinished_stream_holds_the_device() -> None:
    device = dram()
    served = device.stream_chunks([[at()], [at(row=1)]])
    next(served)
    for call in (lambda: device.read([0], 10**6), lambda: device.stream([0])):
        with pytest.raises(ValueError, match=r"^a DRAM stream must be read to its end before"):
            call()
    assert len(list(served)) == 1
    assert device.read([at(row=1)], 1000).tolist() == [1017]


def test_wrong_streams_are_refused() -> None:
    for name in ("sends_per_cycle", "outstanding"):
        limits: dict[str, Any] = {name: 0}
        with pytest.raises(ValueError, match=rf"^DRAM stream {name} must be at least 1, not 0$"):
            dram().stream([0], **limits)
    device = dram()
    with pytest.raises(ValueError, match=r"^DRAM addresses must be in 0\.\.131071, not 5\.\."):
        device.stream([5, TWO_CHANNELS.transactions])
    assert device.read([0], 0).tolist() == [32]  # nothing was sent
