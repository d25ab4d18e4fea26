"""The DRAM clock by clock: FR-FCFS over one channel, skipping clocks in which nothing can happen.

Every array is int64. A bank's number within its channel is
(pseudo_channel * bank_groups + bank_group) * banks + bank. One file, because numba's cache of
`serve` notices changes in its own file only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

inlined = njit(cache=True, inline="always")  # a call would copy the whole `State`: 1.4x slower

NEVER = 2**62
CLOSED = -1

ROW, ACT, READ, PRE = range(4)
"""Rows of `State.bank`: open row, then the first clock at which a command is allowed.
`State.group` uses ACT and READ alike."""

REFRESH, FAW_NEXT, FAW = 3, 4, 5
"""Further rows of `State.pseudo`, beside ACT and READ: first clock of a refresh, place of the
oldest of the last four ACT, and their clocks."""

ROW_BUS, COLUMN_BUS, REFRESH_DUE, REFRESH_LEFT, ENTERED = range(5)
"""Columns of `State.channel`: first free clocks of the command buses, clock of the next refresh,
pseudo-channels still to be refreshed, requests that ever entered the queue."""

HITS, MISSES, CONFLICTS, REFRESHES, ACTIVATES = range(5)
"""Columns of `State.counters`."""

NEW, COUNTED, OPENED = range(3)
"""Stages of a request: nothing done; counted as hit, miss or conflict; its row was opened."""


class Timing(NamedTuple):
    """Distances between commands in clocks, ACT's length included, and sizes."""

    act_to_read: int
    act_to_pre: int
    act_to_act: int
    act_to_refresh: int
    act_to_act_pseudo: int
    act_to_act_group: int
    four_act: int
    act_cycles: int
    pre_to_act: int
    pre_to_refresh: int
    read_to_pre: int
    read_to_read_pseudo: int
    read_to_read_group: int
    read_to_data: int
    refresh_to_act: int
    refresh_interval: int
    queue_cycles: int
    queue_depth: int
    pseudo_channels: int
    bank_bits: int  # shift from a bank's number to its group's
    pseudo_bits: int  # shift from a bank's number to its pseudo-channel's


SIZE, WAITING, READ_FROM, ROW_FROM = range(4)
"""Entries of `Scratch.turn`: requests in the pool, those of them in the queue, and the clocks
before which no read and no other command can be issued, for want of the bus or of a bank."""


class State(NamedTuple):
    """What a device remembers between calls; first axis: channel."""

    bank: Ints  # (channel, 4, bank)
    group: Ints  # (channel, 3, bank group)
    pseudo: Ints  # (channel, 9, pseudo-channel)
    channel: Ints  # (channel, 5)
    left_at: Ints  # (channel, queue depth): clocks at which requests left the queue, a ring
    counters: Ints  # (channel, 5)


class Scratch(NamedTuple):
    """Working space of one call."""

    pool: Ints  # requests in the queue or with an opened row, oldest first
    stage: Ints  # (request,)
    turn: Ints  # (4,)
    reserved: Ints  # (bank,): 1 while the opened row still has to be read
    bank: Ints  # (request,): bank within its channel
    row: Ints  # (request,)


@inlined
def pick_read(
    c: int, now: int, size: int, opened: int, timing: Timing, state: State, scratch: Scratch
) -> tuple[int, int]:
    """Choose the request to read: one whose row was opened for it, else the oldest row hit.

    While a refresh waits, only the former. Returns its place in the pool, or -1 and the clock at
    which there may be one.
    """
    open_row, bank_at = state.bank[c, ROW], state.bank[c, READ]
    group_at, pseudo_at = state.group[c, READ], state.pseudo[c, READ]
    bank, row, stage, pool = scratch.bank, scratch.row, scratch.stage, scratch.pool
    refreshing = state.channel[c, REFRESH_LEFT] > 0
    best, soonest = -1, NEVER
    for place in range(size):
        request = pool[place]
        b = bank[request]
        if open_row[b] != row[request]:
            continue
        own = stage[request] == OPENED
        if refreshing and not own:
            continue
        ready = max(bank_at[b], group_at[b >> timing.bank_bits], pseudo_at[b >> timing.pseudo_bits])
        if ready > now:
            soonest = min(soonest, ready)
        elif own:
            return place, now
        elif best < 0:
            best = place
            if opened == 0:
                break
    return best, soonest


@inlined
def pick_row(
    c: int, now: int, size: int, timing: Timing, state: State, scratch: Scratch
) -> tuple[int, int]:
    """Choose the oldest request whose bank may be activated or precharged for it.

    A row opened for a request stays until that is read. Returns as `pick_read`.
    """
    open_row, pre_at, bank_at = state.bank[c, ROW], state.bank[c, PRE], state.bank[c, ACT]
    group_at, pseudo_at = state.group[c, ACT], state.pseudo[c, ACT]
    bank, row, reserved, pool = scratch.bank, scratch.row, scratch.reserved, scratch.pool
    soonest = NEVER
    for place in range(size):
        request = pool[place]
        b = bank[request]
        if open_row[b] == row[request]:
            continue
        if open_row[b] == CLOSED:
            ready = max(
                bank_at[b], group_at[b >> timing.bank_bits], pseudo_at[b >> timing.pseudo_bits]
            )
        elif reserved[b]:
            continue
        else:
            ready = pre_at[b]
        if ready <= now:
            return place, now
        soonest = min(soonest, ready)
    return -1, soonest


@inlined
def issue_read(c: int, now: int, b: int, timing: Timing, state: State) -> None:
    """Read the open row of bank b."""
    state.bank[c, PRE, b] = max(state.bank[c, PRE, b], now + timing.read_to_pre)
    state.group[c, READ, b >> timing.bank_bits] = now + timing.read_to_read_group
    state.pseudo[c, READ, b >> timing.pseudo_bits] = now + timing.read_to_read_pseudo
    state.channel[c, COLUMN_BUS] = now + 1


@inlined
def issue_act(c: int, now: int, b: int, row: int, timing: Timing, state: State) -> None:
    """Open a row of bank b."""
    state.bank[c, ROW, b] = row
    state.bank[c, ACT, b] = now + timing.act_to_act
    state.bank[c, READ, b] = now + timing.act_to_read
    state.bank[c, PRE, b] = now + timing.act_to_pre
    state.group[c, ACT, b >> timing.bank_bits] = now + timing.act_to_act_group
    pseudo = state.pseudo[c, :, b >> timing.pseudo_bits]
    pseudo[FAW + pseudo[FAW_NEXT]] = now
    pseudo[FAW_NEXT] = (pseudo[FAW_NEXT] + 1) % 4
    fifth = pseudo[FAW + pseudo[FAW_NEXT]] + timing.four_act
    pseudo[ACT] = max(now + timing.act_to_act_pseudo, fifth)
    pseudo[REFRESH] = max(pseudo[REFRESH], now + timing.act_to_refresh)
    state.channel[c, ROW_BUS] = now + timing.act_cycles
    state.counters[c, ACTIVATES] += 1


@inlined
def issue_pre(c: int, now: int, b: int, timing: Timing, state: State) -> None:
    """Close bank b."""
    state.bank[c, ROW, b] = CLOSED
    state.bank[c, ACT, b] = max(state.bank[c, ACT, b], now + timing.pre_to_act)
    pseudo = state.pseudo[c, :, b >> timing.pseudo_bits]
    pseudo[REFRESH] = max(pseudo[REFRESH], now + timing.pre_to_refresh)
    state.channel[c, ROW_BUS] = now + 1


@inlined
def refresh_step(c: int, now: int, timing: Timing, state: State, scratch: Scratch) -> int:
    """Take the next step of a waiting refresh: close all banks of a pseudo-channel, refresh it.

    Pseudo-channels follow one another. Returns the first clock at which the next step may be.
    """
    half = timing.pseudo_channels - state.channel[c, REFRESH_LEFT]
    first, last = half << timing.pseudo_bits, (half + 1) << timing.pseudo_bits
    ready = state.channel[c, ROW_BUS]
    is_open = False
    for b in range(first, last):
        if scratch.reserved[b]:
            return NEVER
        if state.bank[c, ROW, b] != CLOSED:
            is_open = True
            ready = max(ready, state.bank[c, PRE, b])
    if not is_open:
        ready = max(ready, state.pseudo[c, REFRESH, half])
    if ready > now:
        return int(ready)
    if is_open:
        for b in range(first, last):
            if state.bank[c, ROW, b] != CLOSED:
                issue_pre(c, now, b, timing, state)
    else:
        allowed = max(state.pseudo[c, ACT, half], now + timing.refresh_to_act)
        state.pseudo[c, ACT, half] = allowed
        state.channel[c, ROW_BUS] = now + 1
        state.channel[c, REFRESH_LEFT] -= 1
        state.counters[c, REFRESHES] += 1
        scratch.turn[READ_FROM] = state.channel[c, COLUMN_BUS]  # the queue goes on
    return now + 1


@inlined
def row_step(c: int, now: int, timing: Timing, state: State, scratch: Scratch) -> int:
    """Activate or precharge for one request; returns the first clock for the next."""
    place, soonest = pick_row(c, now, scratch.turn[SIZE], timing, state, scratch)
    if place < 0:
        return soonest
    request = scratch.pool[place]
    b = scratch.bank[request]
    closed = state.bank[c, ROW, b] == CLOSED
    if scratch.stage[request] == NEW:
        state.counters[c, MISSES if closed else CONFLICTS] += 1
        scratch.stage[request] = COUNTED
    if closed:
        issue_act(c, now, b, scratch.row[request], timing, state)
        scratch.stage[request] = OPENED
        scratch.reserved[b] = 1
        leave_queue(c, now, timing, state, scratch)
        turn = scratch.turn
        readable = max(now + timing.act_to_read, state.channel[c, COLUMN_BUS])
        turn[READ_FROM] = min(turn[READ_FROM], readable)
    else:
        issue_pre(c, now, b, timing, state)
    return int(state.channel[c, ROW_BUS])


@inlined
def read_step(c: int, now: int, timing: Timing, state: State, scratch: Scratch, done: Ints) -> int:
    """Read for one request; returns the first clock for the next."""
    turn, pool = scratch.turn, scratch.pool
    opened = turn[SIZE] - turn[WAITING]
    place, soonest = pick_read(c, now, turn[SIZE], opened, timing, state, scratch)
    if place < 0:
        return soonest
    request = pool[place]
    b = scratch.bank[request]
    issue_read(c, now, b, timing, state)
    done[request] = now + timing.read_to_data
    if scratch.stage[request] == OPENED:
        scratch.reserved[b] = 0
        closable = max(state.bank[c, PRE, b], state.channel[c, ROW_BUS])
        turn[ROW_FROM] = min(turn[ROW_FROM], closable)
    else:
        state.counters[c, HITS] += scratch.stage[request] == NEW
        leave_queue(c, now, timing, state, scratch)
    turn[SIZE] -= 1
    for later in range(place, turn[SIZE]):
        pool[later] = pool[later + 1]
    return now + 1


@inlined
def leave_queue(c: int, now: int, timing: Timing, state: State, scratch: Scratch) -> None:
    """Free a place in the queue: a request was read, or its row opened."""
    first_waiting = state.channel[c, ENTERED] - scratch.turn[WAITING]
    state.left_at[c, first_waiting % timing.queue_depth] = now
    scratch.turn[WAITING] -= 1


@inlined
def enter_queue(
    c: int,
    now: int,
    requests: Ints,
    entered: int,
    enter_at: int,
    timing: Timing,
    state: State,
    scratch: Scratch,
) -> tuple[int, int]:
    """Let requests into the queue; returns how many are in so far and when the next may be.

    A place is free the clock after the request before it left, in an earlier call perhaps.
    """
    turn, ring = scratch.turn, state.left_at[c]
    while entered < requests.size and turn[WAITING] < timing.queue_depth:
        at = max(enter_at, ring[state.channel[c, ENTERED] % timing.queue_depth] + 1)
        if at > now:
            return entered, at
        request = requests[entered]
        scratch.pool[turn[SIZE]] = request
        turn[SIZE] += 1
        turn[WAITING] += 1
        state.channel[c, ENTERED] += 1
        entered += 1
        b = scratch.bank[request]
        if state.bank[c, ROW, b] == scratch.row[request]:
            turn[READ_FROM] = min(turn[READ_FROM], read_ready(c, b, timing, state))
        else:
            turn[ROW_FROM] = min(turn[ROW_FROM], row_ready(c, b, timing, state))
    return entered, NEVER


@inlined
def read_ready(c: int, b: int, timing: Timing, state: State) -> int:
    """Return the first clock at which bank b's open row may be read."""
    ready: int = max(
        state.bank[c, READ, b],
        state.group[c, READ, b >> timing.bank_bits],
        state.pseudo[c, READ, b >> timing.pseudo_bits],
        state.channel[c, COLUMN_BUS],
    )
    return ready


@inlined
def row_ready(c: int, b: int, timing: Timing, state: State) -> int:
    """Return the first clock at which bank b may be activated, or precharged if it is open."""
    bus_free: int = state.channel[c, ROW_BUS]
    if state.bank[c, ROW, b] != CLOSED:
        return max(bus_free, int(state.bank[c, PRE, b]))
    return max(
        bus_free,
        int(state.bank[c, ACT, b]),
        int(state.group[c, ACT, b >> timing.bank_bits]),
        int(state.pseudo[c, ACT, b >> timing.pseudo_bits]),
    )


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
        state.counters[c, REFRESHES] += skipped * timing.pseudo_channels
        state.bank[c, ROW] = CLOSED
    busy = min(channel[ROW_BUS], channel[COLUMN_BUS])
    return min(max(enter_at, int(busy)), int(channel[REFRESH_DUE]))


@inlined
def serve_channel(
    c: int,
    requests: Ints,
    arrival: int,
    until: int,
    timing: Timing,
    state: State,
    scratch: Scratch,
    done: Ints,
) -> None:
    """Serve requests that arrive together; then, or without any, refresh up to clock `until`."""
    channel, turn = state.channel[c], scratch.turn
    enter_at = arrival + timing.queue_cycles
    now = begin(c, enter_at, until, timing, state)
    turn[SIZE] = turn[WAITING] = entered = 0
    turn[READ_FROM], turn[ROW_FROM] = channel[COLUMN_BUS], channel[ROW_BUS]
    while (
        entered < requests.size
        or turn[SIZE] > 0
        or channel[REFRESH_LEFT] > 0
        or channel[REFRESH_DUE] < until
    ):
        if now >= channel[REFRESH_DUE]:
            channel[ROW_BUS] = max(channel[ROW_BUS], channel[REFRESH_DUE])
            channel[REFRESH_LEFT] = timing.pseudo_channels
            channel[REFRESH_DUE] += timing.refresh_interval
            turn[ROW_FROM] = channel[ROW_BUS]
        entered, wake = enter_queue(c, now, requests, entered, enter_at, timing, state, scratch)
        full = turn[WAITING] == timing.queue_depth
        if now >= turn[READ_FROM]:
            turn[READ_FROM] = read_step(c, now, timing, state, scratch, done)
        if now >= turn[ROW_FROM]:
            if channel[REFRESH_LEFT] > 0:
                turn[ROW_FROM] = refresh_step(c, now, timing, state, scratch)
            else:
                turn[ROW_FROM] = row_step(c, now, timing, state, scratch)
        if full and turn[WAITING] < timing.queue_depth:
            wake = now + 1  # the next request enters
        now = max(now + 1, min(wake, channel[REFRESH_DUE], turn[READ_FROM], turn[ROW_FROM]))


@njit(cache=True)
def locate(
    addresses: Ints, parts: Ints, xor: Ints, sizes: Ints, channel: Ints, bank: Ints, row: Ints
) -> None:
    """Split transaction addresses into channel, bank within the channel, and row.

    Fields are numbered as in `spec.FIELDS`. `parts` rows: field, lowest address bit, bits, lowest
    bit within the field. `xor` rows: field, lowest column bit. `sizes`: values per field.
    """
    place = np.zeros(6, np.int64)
    for i in range(addresses.size):
        place[:] = 0
        for p in range(parts.shape[0]):
            piece = (addresses[i] >> parts[p, 1]) & ((1 << parts[p, 2]) - 1)
            place[parts[p, 0]] |= piece << parts[p, 3]
        for x in range(xor.shape[0]):
            field = xor[x, 0]
            place[field] ^= (place[4] >> xor[x, 1]) & (sizes[field] - 1)
        channel[i] = place[0]
        bank[i] = (place[1] * sizes[2] + place[2]) * sizes[3] + place[3]
        row[i] = place[5]


@njit(cache=True)
def serve(
    addresses: Ints,
    arrival: int,
    until: int,
    parts: Ints,
    xor: Ints,
    sizes: Ints,
    timing: Timing,
    state: State,
) -> Any:
    """Serve one call on all channels; returns the clock at which each read's data is complete."""
    count, channels, banks = addresses.size, state.bank.shape[0], state.bank.shape[2]
    channel = np.empty(count, np.int64)
    scratch = Scratch(
        np.empty(timing.queue_depth + banks, np.int64),
        np.zeros(count, np.int64),
        np.zeros(4, np.int64),
        np.zeros(banks, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
    )
    locate(addresses, parts, xor, sizes, channel, scratch.bank, scratch.row)
    start = np.zeros(channels + 1, np.int64)
    for i in range(count):
        start[channel[i] + 1] += 1
    for c in range(channels):
        start[c + 1] += start[c]
    order = np.empty(count, np.int64)
    filled = start.copy()
    for i in range(count):
        order[filled[channel[i]]] = i
        filled[channel[i]] += 1
    done = np.empty(count, np.int64)
    for c in range(channels):
        requests = order[start[c] : start[c + 1]]
        if requests.size > 0 or until > 0:
            serve_channel(c, requests, arrival, until, timing, state, scratch, done)
    return done
