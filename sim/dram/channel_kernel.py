"""One DRAM channel, clock by clock: FR-FCFS over its queue, open rows, all-bank refresh.

Every array is int64. A rank here is whatever refreshes and counts activations together: a rank of
DDR4, a pseudo-channel of HBM2. A bank's number within its channel is
(rank * bank_groups + bank_group) * banks + bank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

OPTIONS: Any = {"_nrt": False}
"""No counting of references to the arrays of `State`."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def inlined(function: _Function) -> _Function:
    """Compile into the callers: a call would copy the whole `State`."""
    compiled: _Function = njit(forceinline=True, **OPTIONS)(function)
    return compiled


NEVER = 2**62
CLOSED = -1

ROW, ACT, READ, PRE, CLOSABLE = range(5)
"""Rows of `State.bank`: open row, the first clocks at which the commands are allowed, and that of
PRE once the request has been read for which the row was opened: until then PRE has NEVER.
`State.group` and `State.rank` have ACT, READ and PRE too, where PRE is always allowed."""

REFRESH, FAW_NEXT, FAW = 4, 5, 6
"""Further rows of `State.rank`: first clock of a refresh, place of the oldest of the last four
ACT, and their clocks."""

(
    ROW_BUS,
    COLUMN_BUS,
    REFRESH_DUE,
    REFRESH_LEFT,
    ENTERED,
    WAITING,
    OPENED,
    READ_FROM,
    ROW_FROM,
) = range(9)
"""Columns of `State.channel`: first free clocks of the command buses (equal where there is one),
clock of the next refresh, ranks still to be refreshed, requests that ever entered the queue, those
that wait in it, those whose row was opened, and the clocks before which no read and no other
command can be issued, for want of the bus or of a bank. With one bus, READ_FROM is for the requests
whose row was opened, ROW_FROM for all else."""

REQUEST, BANK, WANTED, AGE, COUNTED = range(5)
"""Rows of `State.waiting`: request, its bank and row, its age (lower is older), and whether it was
counted as hit, miss or conflict. `State.opened` has the rows REQUEST, BANK and OPENED_AGE."""

OPENED_AGE = 2

HITS, MISSES, CONFLICTS, REFRESHES, ACTIVATES = range(5)
"""Columns of `State.counters`."""


class Timing(NamedTuple):
    """Distances between commands in clocks, ACT's length included, and sizes."""

    act_to_read: int
    act_to_pre: int
    act_to_act: int
    act_to_refresh: int
    act_to_act_rank: int
    act_to_act_group: int
    four_act: int
    act_cycles: int
    pre_to_act: int
    pre_to_refresh: int
    read_to_pre: int
    read_to_read_rank: int
    read_to_read_group: int
    read_to_read_other_rank: int  # 0: ranks have data pins of their own
    read_to_data: int
    refresh_to_act: int
    refresh_interval: int
    queue_cycles: int
    queue_depth: int
    ranks: int
    bank_bits: int  # shift from a bank's number to its group's
    rank_bits: int  # shift from a bank's number to its rank's
    command_buses: int


class State(NamedTuple):
    """What a device remembers; first axis: channel."""

    bank: Ints  # (channel, 5, bank)
    group: Ints  # (channel, 4, bank group)
    rank: Ints  # (channel, 10, rank)
    channel: Ints  # (channel, 9)
    waiting: Ints  # (channel, 5, queue depth), by age
    opened: Ints  # (channel, 3, bank), in order of their activation
    left_at: Ints  # (channel, queue depth): clocks at which requests left the queue, a ring
    counters: Ints  # (channel, 5)


@inlined
def ready_at(c: int, command: int, b: int, timing: Timing, state: State) -> int:
    """Return the first clock of ACT, READ or PRE of bank b, but for the bus."""
    ready: int = max(
        state.bank[c, command, b],
        state.group[c, command, b >> timing.bank_bits],
        state.rank[c, command, b >> timing.rank_bits],
    )
    return ready


@inlined
def next_command(c: int, b: int, row: int, state: State) -> int:
    """Return what a request for a row of bank b needs next: ACT, READ or PRE."""
    is_open = state.bank[c, ROW, b]
    return READ if is_open == row else (ACT if is_open == CLOSED else PRE)


@inlined
def pick_opened(c: int, now: int, timing: Timing, state: State) -> tuple[int, int]:
    """Choose the oldest request whose row was opened for it and may be read.

    Returns its place, or -1 and the clock at which there may be one.
    """
    opened = state.opened[c]
    best, soonest, oldest = -1, NEVER, NEVER
    for place in range(state.channel[c, OPENED]):
        ready = ready_at(c, READ, opened[BANK, place], timing, state)
        if ready > now:
            soonest = min(soonest, ready)
        elif opened[OPENED_AGE, place] < oldest:
            best, oldest = place, opened[OPENED_AGE, place]
    return best, soonest


@inlined
def pick_waiting(
    c: int, now: int, reads: bool, rows: bool, timing: Timing, state: State
) -> tuple[int, int]:
    """Choose the oldest waiting request whose next command may be issued.

    That is a read where its row is open (`reads`), else ACT or PRE (`rows`); a row opened for
    another request stays until that is read. Returns its place, or -1, and the clock at which the
    next of the others may be ready.
    """
    bank, wanted = state.waiting[c, BANK], state.waiting[c, WANTED]
    best, soonest = -1, NEVER
    for place in range(state.channel[c, WAITING]):
        b = bank[place]
        is_open = state.bank[c, ROW, b]
        is_hit = is_open == wanted[place]
        command = READ if is_hit or not rows else (ACT if is_open == CLOSED else PRE)
        ready = ready_at(c, command, b, timing, state)
        ready = ready if (reads if is_hit else rows) else NEVER
        if ready <= now:
            if best >= 0:
                return best, now
            best = place
        else:
            soonest = min(soonest, ready)
    return best, soonest


@inlined
def issue_read(c: int, now: int, b: int, timing: Timing, state: State) -> None:
    """Read the open row of bank b, for the request for which it was opened or after that."""
    own = b >> timing.rank_bits
    state.bank[c, CLOSABLE, b] = max(state.bank[c, CLOSABLE, b], now + timing.read_to_pre)
    state.bank[c, PRE, b] = state.bank[c, CLOSABLE, b]
    state.group[c, READ, b >> timing.bank_bits] = now + timing.read_to_read_group
    if timing.read_to_read_other_rank > 0:
        for rank in range(timing.ranks):
            later = max(state.rank[c, READ, rank], now + timing.read_to_read_other_rank)
            state.rank[c, READ, rank] = later
    state.rank[c, READ, own] = now + timing.read_to_read_rank
    state.channel[c, COLUMN_BUS] = now + 1


@inlined
def issue_act(c: int, now: int, b: int, row: int, timing: Timing, state: State) -> None:
    """Open a row of bank b."""
    state.bank[c, ROW, b] = row
    state.bank[c, ACT, b] = now + timing.act_to_act
    state.bank[c, READ, b] = now + timing.act_to_read
    state.bank[c, CLOSABLE, b] = now + timing.act_to_pre
    state.bank[c, PRE, b] = NEVER
    state.group[c, ACT, b >> timing.bank_bits] = now + timing.act_to_act_group
    rank = state.rank[c, :, b >> timing.rank_bits]
    rank[FAW + rank[FAW_NEXT]] = now
    rank[FAW_NEXT] = (rank[FAW_NEXT] + 1) % 4
    fifth = rank[FAW + rank[FAW_NEXT]] + timing.four_act
    rank[ACT] = max(now + timing.act_to_act_rank, fifth)
    rank[REFRESH] = max(rank[REFRESH], now + timing.act_to_refresh)
    state.channel[c, ROW_BUS] = now + timing.act_cycles
    state.counters[c, ACTIVATES] += 1


@inlined
def issue_pre(c: int, now: int, b: int, timing: Timing, state: State) -> None:
    """Close bank b."""
    state.bank[c, ROW, b] = CLOSED
    state.bank[c, ACT, b] = max(state.bank[c, ACT, b], now + timing.pre_to_act)
    rank = state.rank[c, :, b >> timing.rank_bits]
    rank[REFRESH] = max(rank[REFRESH], now + timing.pre_to_refresh)
    state.channel[c, ROW_BUS] = now + 1


@inlined
def begin_refresh(c: int, timing: Timing, state: State) -> None:
    """Close the queue: all ranks are to be refreshed."""
    channel = state.channel[c]
    channel[ROW_BUS] = max(channel[ROW_BUS], channel[REFRESH_DUE])
    channel[REFRESH_LEFT] = timing.ranks
    channel[REFRESH_DUE] += timing.refresh_interval
    channel[ROW_FROM] = channel[ROW_BUS]


@inlined
def refresh_step(c: int, now: int, timing: Timing, state: State) -> int:
    """Take the next step of a waiting refresh: close all banks of a rank, or refresh it.

    Ranks follow one another. Returns the first clock at which the next step may be.
    """
    rank = timing.ranks - state.channel[c, REFRESH_LEFT]
    first, last = rank << timing.rank_bits, (rank + 1) << timing.rank_bits
    ready = state.channel[c, ROW_BUS]
    is_open = False
    for b in range(first, last):
        if state.bank[c, ROW, b] != CLOSED:
            is_open = True
            ready = max(ready, state.bank[c, PRE, b])
    if not is_open:
        ready = max(ready, state.rank[c, REFRESH, rank])
    if ready > now:
        return int(ready)
    if is_open:
        for b in range(first, last):
            if state.bank[c, ROW, b] != CLOSED:
                issue_pre(c, now, b, timing, state)
    else:
        state.rank[c, ACT, rank] = max(state.rank[c, ACT, rank], now + timing.refresh_to_act)
        state.channel[c, ROW_BUS] = now + 1
        state.channel[c, REFRESH_LEFT] -= 1
        state.counters[c, REFRESHES] += 1
        state.channel[c, READ_FROM] = state.channel[c, COLUMN_BUS]  # the queue goes on
    return now + 1


@inlined
def enter_queue(
    c: int, request: int, b: int, row: int, age: int, timing: Timing, state: State
) -> None:
    """Put a request into the queue, which must have room."""
    channel, waiting = state.channel[c], state.waiting[c]
    last = channel[WAITING]
    waiting[REQUEST, last] = request
    waiting[BANK, last] = b
    waiting[WANTED, last] = row
    waiting[AGE, last] = age
    waiting[COUNTED, last] = 0
    channel[WAITING] += 1
    channel[ENTERED] += 1
    command = next_command(c, b, row, state)
    ready = ready_at(c, command, b, timing, state)
    if command == READ and timing.command_buses == 2:
        channel[READ_FROM] = min(channel[READ_FROM], ready)
    else:
        channel[ROW_FROM] = min(channel[ROW_FROM], ready)


@inlined
def leave_queue(c: int, now: int, place: int, timing: Timing, state: State) -> None:
    """Free a place in the queue: a request was read, or its row opened."""
    channel, waiting = state.channel[c], state.waiting[c]
    state.left_at[c, (channel[ENTERED] - channel[WAITING]) % timing.queue_depth] = now
    channel[WAITING] -= 1
    for field in range(waiting.shape[0]):
        for later in range(place, channel[WAITING]):
            waiting[field, later] = waiting[field, later + 1]


@inlined
def room_at(c: int, timing: Timing, state: State) -> int:
    """Return the first clock at which the queue has room: the one after a request left it."""
    if state.channel[c, WAITING] == timing.queue_depth:
        return NEVER
    left: int = state.left_at[c, state.channel[c, ENTERED] % timing.queue_depth]
    return left + 1


@inlined
def read_opened(c: int, now: int, place: int, timing: Timing, state: State, done: Ints) -> None:
    """Read for a request whose row was opened."""
    channel, opened = state.channel[c], state.opened[c]
    b = opened[BANK, place]
    issue_read(c, now, b, timing, state)
    done[opened[REQUEST, place]] = now + timing.read_to_data
    channel[OPENED] -= 1
    for later in range(place, channel[OPENED]):
        for field in range(3):
            opened[field, later] = opened[field, later + 1]
    channel[ROW_FROM] = min(channel[ROW_FROM], state.bank[c, PRE, b])


@inlined
def read_waiting(c: int, now: int, place: int, timing: Timing, state: State, done: Ints) -> None:
    """Read for a request that found its row open."""
    waiting = state.waiting[c]
    issue_read(c, now, waiting[BANK, place], timing, state)
    done[waiting[REQUEST, place]] = now + timing.read_to_data
    state.counters[c, HITS] += 1 - waiting[COUNTED, place]
    leave_queue(c, now, place, timing, state)


@inlined
def open_or_close(c: int, now: int, place: int, timing: Timing, state: State) -> int:
    """Activate or precharge for a waiting request; returns the first clock of what then follows."""
    channel, waiting, opened = state.channel[c], state.waiting[c], state.opened[c]
    b = waiting[BANK, place]
    closed = state.bank[c, ROW, b] == CLOSED
    if not waiting[COUNTED, place]:
        state.counters[c, MISSES if closed else CONFLICTS] += 1
        waiting[COUNTED, place] = 1
    if not closed:
        issue_pre(c, now, b, timing, state)
        return ready_at(c, ACT, b, timing, state)
    issue_act(c, now, b, waiting[WANTED, place], timing, state)
    last = channel[OPENED]
    opened[REQUEST, last] = waiting[REQUEST, place]
    opened[BANK, last] = b
    opened[OPENED_AGE, last] = waiting[AGE, place]
    channel[OPENED] += 1
    leave_queue(c, now, place, timing, state)
    readable = now + timing.act_to_read
    channel[READ_FROM] = min(channel[READ_FROM], readable)
    return readable


@inlined
def column_clock(c: int, now: int, timing: Timing, state: State, done: Ints) -> int:
    """Let the column bus issue a read; returns the first clock for the next.

    While a refresh waits, only requests whose row was opened for them are read.
    """
    place, soonest = pick_opened(c, now, timing, state)
    if place >= 0:
        read_opened(c, now, place, timing, state, done)
        return now + 1
    if state.channel[c, REFRESH_LEFT] > 0:
        return soonest
    place, later = pick_waiting(c, now, True, False, timing, state)
    if place >= 0:
        read_waiting(c, now, place, timing, state, done)
    return min(soonest, later)


@inlined
def row_clock(c: int, now: int, timing: Timing, state: State) -> int:
    """Let the row bus issue a command; returns the first clock for the next."""
    if state.channel[c, REFRESH_LEFT] > 0:
        return refresh_step(c, now, timing, state)
    place, soonest = pick_waiting(c, now, False, True, timing, state)
    if place >= 0:
        soonest = min(soonest, open_or_close(c, now, place, timing, state))
    return soonest


@inlined
def waiting_clock(c: int, now: int, timing: Timing, state: State, done: Ints) -> int:
    """Issue what a refresh or else a waiting request needs; returns as `row_clock`."""
    if state.channel[c, REFRESH_LEFT] > 0:
        return refresh_step(c, now, timing, state)
    place, soonest = pick_waiting(c, now, True, True, timing, state)
    if place < 0:
        return soonest
    waiting = state.waiting[c]
    if state.bank[c, ROW, waiting[BANK, place]] == waiting[WANTED, place]:
        read_waiting(c, now, place, timing, state, done)
        return soonest
    return min(soonest, open_or_close(c, now, place, timing, state))


@inlined
def single_clock(c: int, now: int, timing: Timing, state: State, done: Ints) -> None:
    """Let the only command bus issue a command: opened rows come first, then a refresh."""
    channel = state.channel[c]
    place = -1
    if now >= channel[READ_FROM]:
        place, channel[READ_FROM] = pick_opened(c, now, timing, state)
        if place >= 0:
            read_opened(c, now, place, timing, state, done)
            channel[READ_FROM] = now + 1
    if place < 0 and now >= channel[ROW_FROM]:
        channel[ROW_FROM] = waiting_clock(c, now, timing, state, done)
    channel[ROW_BUS] = channel[COLUMN_BUS] = max(channel[ROW_BUS], channel[COLUMN_BUS])


@inlined
def clock_channel(c: int, now: int, timing: Timing, state: State, done: Ints) -> int:
    """Issue what the command buses may issue in clock `now`; returns the next clock to look at.

    An earlier look does nothing; a request that enters may make one necessary (`wake`).
    """
    channel = state.channel[c]
    if now >= channel[REFRESH_DUE]:
        begin_refresh(c, timing, state)
    if timing.command_buses == 1:
        if now >= channel[ROW_BUS]:
            single_clock(c, now, timing, state, done)
    else:
        if now >= channel[READ_FROM] and now >= channel[COLUMN_BUS]:
            channel[READ_FROM] = column_clock(c, now, timing, state, done)
        if now >= channel[ROW_FROM] and now >= channel[ROW_BUS]:
            channel[ROW_FROM] = row_clock(c, now, timing, state)
    return wake(c, state)


@inlined
def wake(c: int, state: State) -> int:
    """Return the first clock at which the channel may do something by itself."""
    channel = state.channel[c]
    column = max(channel[READ_FROM], channel[COLUMN_BUS])
    row = max(channel[ROW_FROM], channel[ROW_BUS])
    return int(min(channel[REFRESH_DUE], column, row))


@inlined
def begin(c: int, enter_at: int, until: int, timing: Timing, state: State) -> int:
    """Return the clock at which a call starts: its requests may enter or a refresh is due.

    The refreshes of an idle gap before it, but for the last, are counted, not timed.
    """
    channel = state.channel[c]
    free = max(channel[ROW_BUS], channel[COLUMN_BUS])
    skipped = (max(enter_at, until) - channel[REFRESH_DUE]) // timing.refresh_interval
    if skipped > 0 and channel[REFRESH_DUE] >= free:
        channel[REFRESH_DUE] += skipped * timing.refresh_interval
        state.counters[c, REFRESHES] += skipped * timing.ranks
        state.bank[c, ROW] = CLOSED
    channel[READ_FROM], channel[ROW_FROM] = channel[COLUMN_BUS], channel[ROW_BUS]
    busy = min(channel[ROW_BUS], channel[COLUMN_BUS])
    return min(max(enter_at, int(busy)), int(channel[REFRESH_DUE]))
