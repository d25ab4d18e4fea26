"""DDR4's constraints, each alone and to the clock: a completion one clock earlier would break it.

Clocks are derived by hand from DDR4_2400R with two ranks: a request that arrives at 0 may get its
first command at 1; one bus carries all commands; data is complete CL + BL = 20 after RD.
"""

from __future__ import annotations

from typing import Any

import pytest

from sim.dram.ddr4 import DDR4_2400R
from sim.dram.mapping import remap
from sim.dram.model import Dram

TWO_RANKS = remap(DDR4_2400R, "robaracoch", ranks=2, refresh=False)
REFRESHED = TWO_RANKS.override({"refresh": True})


def at(rank: int = 0, group: int = 0, bank: int = 0, row: int = 0, column: int = 0) -> int:
    """Return the transaction at a place, under TWO_RANKS' mapping."""
    return column | rank << 7 | group << 8 | bank << 10 | row << 12


def device(**changes: Any) -> Dram:
    return Dram(TWO_RANKS.override(changes))


def done(dram: Dram, addresses: list[int], arrival: int) -> list[int]:
    return dram.read(addresses, arrival).tolist()


def opened(dram: Dram, *addresses: int) -> Dram:
    """Return the device with the rows of these addresses open and every constraint long past."""
    for i, address in enumerate(addresses):
        dram.read([address], 100 * i)
    return dram


@pytest.mark.parametrize(("n_rcd", "n_cl", "clock"), [(16, 16, 37), (20, 16, 41), (16, 17, 38)])
def test_a_closed_bank_costs_activation_and_latency(n_rcd: int, n_cl: int, clock: int) -> None:
    assert done(device(n_rcd=n_rcd, n_cl=n_cl), [at()], 0) == [clock]


def test_an_open_row_costs_latency_only() -> None:
    assert done(opened(device(), at()), [at(column=1)], 1000) == [1000 + 1 + 20]


@pytest.mark.parametrize("n_ccd_l", [6, 7])
def test_reads_of_one_bank_group_keep_ccd_l(n_ccd_l: int) -> None:
    dram = opened(device(n_ccd_l=n_ccd_l), at())
    assert done(dram, [at(column=1), at(column=2)], 1000) == [1021, 1021 + n_ccd_l]


@pytest.mark.parametrize("n_ccd_s", [4, 5])
def test_reads_of_two_bank_groups_keep_ccd_s(n_ccd_s: int) -> None:
    dram = opened(device(n_ccd_s=n_ccd_s), at(), at(group=1))
    assert done(dram, [at(column=1), at(group=1, column=1)], 1000) == [1021, 1021 + n_ccd_s]


def test_data_of_one_rank_does_not_overlap() -> None:
    dram = opened(device(n_bl=5), at(), at(group=1))
    assert done(dram, [at(column=1), at(group=1, column=1)], 1000) == [1022, 1027]


@pytest.mark.parametrize(("n_bl", "n_cs"), [(4, 2), (4, 5), (5, 2), (4, 0)])
def test_data_of_two_ranks_keeps_a_gap(n_bl: int, n_cs: int) -> None:
    dram = opened(device(n_bl=n_bl, n_cs=n_cs), at(), at(rank=1))
    first = 1001 + 16 + n_bl
    clocks = done(dram, [at(column=1), at(rank=1, column=1)], 1000)
    assert clocks == [first, first + n_bl + n_cs]


def test_the_gap_between_ranks_holds_in_both_directions() -> None:
    dram = opened(device(n_cs=5), at(), at(rank=1))
    assert done(dram, [at(rank=1, column=1), at(column=1)], 1000) == [1021, 1030]


@pytest.mark.parametrize("n_rrd_s", [4, 5])
def test_activations_of_two_bank_groups_keep_rrd_s(n_rrd_s: int) -> None:
    assert done(device(n_rrd_s=n_rrd_s), [at(), at(group=1)], 0) == [37, 37 + n_rrd_s]


@pytest.mark.parametrize("n_rrd_l", [6, 9])
def test_activations_of_one_bank_group_keep_rrd_l(n_rrd_l: int) -> None:
    assert done(device(n_rrd_l=n_rrd_l), [at(), at(bank=1)], 0) == [37, 37 + n_rrd_l]


def test_activations_of_two_ranks_share_the_bus_only() -> None:
    # ACT at 1 and 2, RD at 17 and 18
    assert done(device(n_bl=1, n_cs=0), [at(), at(rank=1)], 0) == [34, 35]


@pytest.mark.parametrize(("n_faw", "fifth_act"), [(26, 27), (27, 28), (28, 30)])
def test_a_fifth_activation_waits_for_the_window(n_faw: int, fifth_act: int) -> None:
    banks = [at(), at(group=1), at(group=2), at(group=3), at(bank=1)]  # ACT at 1, 5, 9, 13
    clocks = done(device(n_faw=n_faw), banks, 0)  # RD at 17, 21, 25, 29: no ACT then
    assert clocks == [37, 41, 45, 49, fifth_act + 16 + 20]


def test_the_window_is_its_ranks() -> None:
    banks = [at(), at(group=1), at(group=2), at(group=3), at(rank=1)]
    clocks = done(device(n_faw=400), banks, 0)
    assert clocks[4] == 29 + 6 + 20  # ACT at 2, but the data pins are free after the fourth


@pytest.mark.parametrize(("n_rp", "clock"), [(16, 1053), (20, 1057)])
def test_a_conflict_precharges_first(n_rp: int, clock: int) -> None:
    assert done(opened(device(n_rp=n_rp), at()), [at(row=1)], 1000) == [clock]


@pytest.mark.parametrize(
    ("changes", "second_act"),
    [
        ({}, 56),  # n_rc = 55 and n_ras + n_rp = 55 agree
        ({"n_ras": 45}, 1 + 45 + 16),
        ({"n_rc": 60}, 1 + 60),
        ({"n_ras": 28, "n_rc": 40}, 1 + 28 + 16),
        ({"n_ras": 20, "n_rc": 30}, 17 + 9 + 16),  # RD at 17, n_rtp
        ({"n_ras": 20, "n_rc": 30, "n_rtp": 12}, 17 + 12 + 16),
    ],
)
def test_a_row_stays_open_for_ras_rc_and_rtp(changes: dict[str, int], second_act: int) -> None:
    assert done(device(**changes), [at(), at(row=1)], 0) == [37, second_act + 16 + 20]


@pytest.mark.parametrize("n_rfc", [433, 434])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_activation_waits_for_the_refresh(rank: int, n_rfc: int) -> None:
    dram = Dram(REFRESHED.override({"n_rfc": n_rfc}))  # ranks are refreshed at 9364 and 9365
    assert done(dram, [at(rank=rank)], 9364) == [9364 + rank + n_rfc + 16 + 20]


@pytest.mark.parametrize("n_rp", [16, 17])
def test_a_refresh_closes_the_rows_first(n_rp: int) -> None:
    dram = opened(Dram(REFRESHED.override({"n_rp": n_rp})), at())
    assert done(dram, [at(column=1)], 9364) == [9364 + n_rp + 433 + 16 + 20]


@pytest.mark.parametrize(("n_rc", "refresh"), [(55, 9363 + 55), (70, 9363 + 70)])
def test_a_refresh_waits_for_the_opened_row(n_rc: int, refresh: int) -> None:
    dram = Dram(REFRESHED.override({"n_rc": n_rc}))
    first, second = done(dram, [at(), at(column=1, group=1)], 9362)  # ACT at 9363, the queue stops
    assert first == 9363 + 16 + 20
    assert second == refresh + 433 + 16 + 20


def test_one_bus_carries_one_command_a_clock() -> None:
    dram = opened(device(), at(), at(group=1))
    # PRE at 1001 for the older, RD at 1002
    assert done(dram, [at(row=1), at(group=1, column=1)], 1000) == [1053, 1022]
    dram = opened(device(), at(), at(group=1))
    # RD at 1001 for the older, PRE at 1002, ACT at 1018, RD at 1034
    assert done(dram, [at(group=1, column=1), at(row=1)], 1000) == [1021, 1054]


def test_an_opened_row_is_read_before_older_requests() -> None:
    dram = opened(device(n_bl=1, n_ccd_s=1, n_ccd_l=1), at(), at(group=1))
    # ACT at 1001 for group 2; RD of it at 1017, although the older hit may be read then too
    older = at(group=2, bank=1)  # closed: ACT waits n_rrd_l, until 1007
    clocks = done(dram, [at(group=2), older], 1000)
    assert clocks == [1017 + 17, 1023 + 17]


@pytest.mark.parametrize("act_cycles", [1, 2])
def test_an_activation_holds_the_bus(act_cycles: int) -> None:
    dram = opened(device(act_cycles=act_cycles), at(group=1))
    # ACT at 1001, then RD of the younger row hit
    assert done(dram, [at(), at(group=1, column=1)], 1000)[1] == 1001 + act_cycles + 20


def test_one_bus_carries_one_command_a_clock_of_two_calls() -> None:
    dram = opened(device(), at(), at(group=1))
    assert done(dram, [at(column=1)], 1000) == [1021]  # RD at 1001
    assert done(dram, [at(group=1, row=1)], 1000) == [1002 + 16 + 16 + 20]
