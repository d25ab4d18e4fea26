"""The 2023 DRAM: its timings are tight, its limits are told."""

from __future__ import annotations

import numpy as np
import pytest

from sim.dram import ramulator2023_kernel as kernel
from sim.dram.ramulator2023 import HBM2_RELEASED, stream

PSEUDO, GROUP, BANK, ROW = 1 << 9, 1 << 10, 1 << 12, 1 << 14


def done(*addresses: int, outstanding: int = 16) -> list[int]:
    """Return the clocks at which reads sent one a clock have their data."""
    return stream(np.array(addresses), outstanding)[1].tolist()


def test_one_read_opens_its_row() -> None:
    assert done(0) == [1 + 7 + 11]


@pytest.mark.parametrize(
    ("second", "distance", "why"),
    [
        (32, 4, "RD to RD of a pseudo-channel"),
        (PSEUDO, 2, "ACT to ACT of a channel"),
        (GROUP, 4, "RD to RD of a pseudo-channel, the ACT hides behind it"),
        (BANK, 4, "ACT to ACT of a bank group is 3, RD to RD 4"),
        (ROW, 17 + 7 + 7 - 7, "ACT to PRE, PRE to ACT"),
    ],
)
def test_second_read_waits_no_longer_than_needed(second: int, distance: int, why: str) -> None:
    first, other = done(0, second)
    assert other - first == distance, why


def test_fifth_activate_waits_for_the_window() -> None:
    """ACT at 1, 3, 5, 7; the fifth may be at 16 = 1 + 15, not at 15."""
    state = kernel.idle_channels(1)
    for address in (0, GROUP, 2 * GROUP, 3 * GROUP, BANK):
        assert kernel.accept(state, 0, address, 16)
    for _ in range(7):
        kernel.tick(state, 0)
    assert np.sort(state.acts[0, 0, :4]).tolist() == [1, 3, 5, 7]
    assert kernel.oldest_ready_waiting(state, 0, 15) == (-1, 16)
    assert kernel.oldest_ready_waiting(state, 0, 16)[0] == 0


@pytest.mark.parametrize(
    ("second", "ready", "why"),
    [
        (GROUP, 1 + 2, "ACT to ACT of a channel"),
        (BANK, 1 + 3, "ACT to ACT of a bank group"),
        (ROW, 1 + 17, "ACT to PRE of a bank"),
        (32, 1 + 7, "ACT to RD of a bank"),
    ],
)
def test_a_command_after_an_activate_is_tight(second: int, ready: int, why: str) -> None:
    state = kernel.idle_channels(1)
    assert kernel.accept(state, 0, 0, 16)
    assert kernel.accept(state, 0, second, 16)
    kernel.tick(state, 0)  # ACT at 1
    assert kernel.oldest_ready_waiting(state, 0, ready - 1) == (-1, ready), why
    assert kernel.oldest_ready_waiting(state, 0, ready)[0] == 0, why


def test_an_older_precharge_goes_before_a_younger_hit() -> None:
    first, conflict, hit = done(0, ROW, 32)
    assert (first, hit) == (19, 23)  # the conflict's PRE is not ready before the hit
    assert conflict == 18 + 7 + 7 + 11


def test_a_row_that_is_waited_for_stays_open() -> None:
    # both of bank 0: the second row's PRE is refused until the first read was issued
    first, second = done(0, ROW)
    assert second > first


def test_finished_reads_leave_in_order_of_issue_one_a_clock() -> None:
    times = done(*[32 * i for i in range(40)])
    assert len(set(times)) == len(times)


def test_only_so_many_are_under_way() -> None:
    accepted, finished = stream(np.arange(8) * 32, 2)
    assert accepted[2:].tolist() == finished[:-2].tolist()


@pytest.mark.parametrize("outstanding", [0, 33])
def test_an_impossible_number_is_refused(outstanding: int) -> None:
    with pytest.raises(ValueError, match=rf"^outstanding must be 1..32, not {outstanding}$"):
        stream(np.zeros(1), outstanding)


def test_spec_says_what_the_kernel_does() -> None:
    assert HBM2_RELEASED.read_latency_cycles == kernel.READ_TO_DATA
    assert HBM2_RELEASED.peak_bytes_per_s == 16e9
    assert not HBM2_RELEASED.refresh


def test_kernel_without_compiler_is_equal() -> None:
    addresses = np.random.default_rng(5).integers(0, 1 << 20, 60) * 32
    state = kernel.idle_channels(1)
    accepted, finished = np.zeros(60, np.int64), np.zeros(60, np.int64)
    kernel.run_stream.py_func(state, addresses, 16, accepted, finished)
    assert [accepted.tolist(), finished.tolist()] == [a.tolist() for a in stream(addresses, 16)]
