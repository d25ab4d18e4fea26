"""Every constraint alone, to the clock: a completion one clock earlier would break it.

Clocks are derived by hand from HBM2_2GBPS: a request that arrives at 0 may get its first command
at 1; ACT holds the row bus for 2 clocks and counts from the second (+1); data is complete
CL + BL = 16 after RD.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.model import Dram
from sim.dram.spec import DramSpec

ONE = HBM2_2GBPS.override(
    {"channels": 1, "refresh": False, "mapping": HBM2_2GBPS.mapping[1:], "name": "one-channel"}
)
REFRESHED = ONE.override({"refresh": True})


def at(pseudo: int = 0, group: int = 0, bank: int = 0, row: int = 0, column: int = 0) -> int:
    """Return the transaction at a place, under ONE's mapping."""
    return pseudo | group << 1 | column << 3 | bank << 8 | row << 10


def device(**changes: Any) -> Dram:
    return Dram(ONE.override(changes))


def done(dram: Dram, addresses: list[int], arrival: int) -> list[int]:
    return dram.read(addresses, arrival).tolist()


def opened(dram: Dram, *addresses: int) -> Dram:
    """Return the device with the rows of these addresses open and every constraint long past."""
    for i, address in enumerate(addresses):
        dram.read([address], 50 * i)
    return dram


@pytest.mark.parametrize(("n_rcd", "n_cl", "clock"), [(14, 14, 32), (20, 14, 38), (14, 15, 33)])
def test_a_closed_bank_costs_activation_and_latency(n_rcd: int, n_cl: int, clock: int) -> None:
    assert done(device(n_rcd=n_rcd, n_cl=n_cl), [at()], 0) == [clock]


def test_an_open_row_costs_latency_only() -> None:
    assert done(opened(device(), at()), [at(column=1)], 1000) == [1000 + 1 + 16]


@pytest.mark.parametrize("queue_cycles", [0, 3])
def test_a_request_waits_for_the_queue(queue_cycles: int) -> None:
    dram = opened(device(queue_cycles=queue_cycles), at())
    assert done(dram, [at(column=1)], 1000) == [1000 + queue_cycles + 16]


@pytest.mark.parametrize(("n_ccd_l", "gap"), [(4, 4), (7, 7)])
def test_reads_of_one_bank_group_keep_ccd_l(n_ccd_l: int, gap: int) -> None:
    dram = opened(device(n_ccd_l=n_ccd_l), at())
    assert done(dram, [at(column=1), at(column=2)], 1000) == [1017, 1017 + gap]


@pytest.mark.parametrize(("n_ccd_s", "gap"), [(2, 2), (3, 3)])
def test_reads_of_two_bank_groups_keep_ccd_s(n_ccd_s: int, gap: int) -> None:
    dram = opened(device(n_ccd_s=n_ccd_s), at(), at(group=1))
    assert done(dram, [at(column=1), at(group=1, column=1)], 1000) == [1017, 1017 + gap]


def test_data_of_one_pseudo_channel_does_not_overlap() -> None:
    dram = opened(device(n_bl=3), at(), at(group=1))
    assert done(dram, [at(column=1), at(group=1, column=1)], 1000) == [1018, 1021]


def test_pseudo_channels_share_the_column_bus_only() -> None:
    dram = opened(device(), at(), at(pseudo=1))
    assert done(dram, [at(column=1), at(pseudo=1, column=1)], 1000) == [1017, 1018]


def test_pseudo_channels_share_the_row_bus() -> None:
    assert done(device(), [at(), at(pseudo=1)], 0) == [32, 34]


@pytest.mark.parametrize(("n_rrd_s", "gap"), [(4, 4), (6, 6)])
def test_activations_of_two_bank_groups_keep_rrd_s(n_rrd_s: int, gap: int) -> None:
    assert done(device(n_rrd_s=n_rrd_s), [at(), at(group=1)], 0) == [32, 32 + gap]


@pytest.mark.parametrize(("n_rrd_l", "gap"), [(5, 5), (9, 9)])
def test_activations_of_one_bank_group_keep_rrd_l(n_rrd_l: int, gap: int) -> None:
    assert done(device(n_rrd_l=n_rrd_l), [at(), at(bank=1)], 0) == [32, 32 + gap]


@pytest.mark.parametrize(("n_faw", "fifth_act"), [(15, 17), (17, 18), (30, 31)])
def test_a_fifth_activation_waits_for_the_window(n_faw: int, fifth_act: int) -> None:
    banks = [at(), at(group=1), at(group=2), at(group=3), at(bank=1)]  # ACT at 1, 5, 9, 13
    clocks = done(device(n_faw=n_faw), banks, 0)
    assert clocks == [32, 36, 40, 44, fifth_act + 15 + 16]


@pytest.mark.parametrize(("n_rp", "clock"), [(14, 1045), (20, 1051)])
def test_a_conflict_precharges_first(n_rp: int, clock: int) -> None:
    assert done(opened(device(n_rp=n_rp), at()), [at(row=1)], 1000) == [clock]


@pytest.mark.parametrize(
    ("changes", "second_act"),
    [
        ({}, 49),  # n_rc = 48 and n_ras + 1 + n_rp - 1 = 48 agree
        ({"n_ras": 40}, 1 + 41 + 13),
        ({"n_rc": 60}, 1 + 60),
        ({"n_ras": 20, "n_rc": 30}, 1 + 21 + 13),
    ],
)
def test_a_row_stays_open_for_ras_and_rc(changes: dict[str, int], second_act: int) -> None:
    assert done(device(**changes), [at(), at(row=1)], 0) == [32, second_act + 15 + 16]


@pytest.mark.parametrize(("n_rtp", "clock"), [(5, 1050), (9, 1054)])
def test_a_precharge_waits_for_the_read(n_rtp: int, clock: int) -> None:
    dram = opened(device(n_rtp=n_rtp), at())
    assert done(dram, [at(column=1), at(row=1)], 1000) == [1017, clock]


@pytest.mark.parametrize("n_rfc", [350, 351])
def test_an_activation_waits_for_the_refresh(n_rfc: int) -> None:
    for pseudo in (0, 1):  # refreshed at 3900 and, one clock of the row bus later, 3901
        dram = Dram(REFRESHED.override({"n_rfc": n_rfc}))
        act = 3900 + pseudo + n_rfc - 1
        assert done(dram, [at(pseudo=pseudo)], 3900) == [act + 15 + 16]


def test_a_refresh_closes_the_rows_first() -> None:
    dram = opened(Dram(REFRESHED), at())
    refresh = 3900 + 14
    assert done(dram, [at(column=1)], 3900) == [refresh + 349 + 15 + 16]
    assert dram.counters.activates.tolist() == [2]


def test_a_refresh_waits_for_the_read_of_an_opened_row() -> None:
    dram = Dram(REFRESHED)
    first, second = done(dram, [at(), at(group=1)], 3898)  # ACT at 3899; the queue stops at 3900
    assert first == 3899 + 15 + 16
    precharge = max(3914 + 5, 3899 + 35)
    assert second == precharge + 14 + 349 + 15 + 16


def test_reads_go_on_between_refreshes_only() -> None:
    dram = opened(Dram(REFRESHED), at())
    assert done(dram, [at(column=1)], 3898) == [3899 + 16]
    assert done(dram, [at(column=2)], 3899)[0] > 3900 + 350


def test_a_younger_request_passes_one_that_waits_for_its_row() -> None:
    dram = opened(device(), at(), at(group=1))
    assert done(dram, [at(row=1), at(group=1, column=1)], 1000) == [1045, 1017]


def test_a_full_queue_blocks_younger_requests() -> None:
    dram = opened(device(queue_depth=1), at(), at(group=1))
    # PRE 1001, ACT 1014 frees the place, the row hit enters at 1015
    assert done(dram, [at(row=1), at(group=1, column=1)], 1000) == [1045, 1015 + 16]


def test_an_opened_row_is_read_before_it_closes_again() -> None:
    dram = device()
    clocks = done(dram, [at(), at(row=1), at(column=1)], 0)
    assert clocks == [32, 80, 36]  # the younger hit comes before the conflict
    assert dram.counters.activates.tolist() == [2]


def test_a_call_may_open_rows_while_the_last_ones_data_flows() -> None:
    hits = [at(column=column) for column in range(8)]
    together = done(device(), [*hits, at(group=1)], 0)
    dram = device()
    apart = done(dram, hits, 0) + done(dram, [at(group=1)], 0)
    assert apart[:8] == [32 + 4 * i for i in range(8)]
    assert apart[8] == apart[7] + 2  # ACT at 5, as in one call; RD after the last call's
    assert together[8] == 36


def test_a_place_in_the_queue_is_free_the_clock_after_in_a_later_call_too() -> None:
    dram = opened(device(queue_depth=1), at(), at(group=1))
    assert done(dram, [at(column=1)], 1000) == [1017]  # RD at 1001 frees the place
    assert done(dram, [at(group=1, row=1)], 1000) == [1002 + 13 + 15 + 16]


@pytest.mark.parametrize("channel", [1, 7, 15])
def test_all_channels_behave_alike(channel: int) -> None:
    spec: DramSpec = HBM2_2GBPS
    rng = np.random.default_rng(3)
    stream = rng.integers(0, spec.transactions // spec.channels, 400) * spec.channels
    first, other = Dram(spec), Dram(spec)
    for part in np.array_split(stream, 3):
        assert (first.read(part, 0) == other.read(part + channel, 0)).all()
    assert first.counters.row_conflicts[0] == other.counters.row_conflicts[channel]
