"""HBM2 as the Ramulator 2 of 2023 models it, clock by clock: see `sim.dram.ramulator2023`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

inlined = njit(inline="always")  # a call would copy the whole `Channels`

QUEUE_DEPTH = 32  # reads that wait; also the most that can be under way here
PLACES = QUEUE_DEPTH + 1  # an entry moves up into the place before it
RING = QUEUE_DEPTH - 1  # mask of a ring of so many
READ_TO_DATA, ACT_TO_READ, ACT_TO_PRE, ACT_TO_ACT, PRE_TO_ACT, READ_TO_PRE = 11, 7, 17, 19, 7, 3
GROUP_READ, GROUP_ACT, PSEUDO_READ, PSEUDO_ACT, FOUR_ACT, CHANNEL_ACT = 2, 3, 4, 2, 15, 2
BANKS, GROUPS, PSEUDO = 32, 8, 2

NEVER = 1 << 62
CLOSED = -1

CLOCK, PENDING, WAITING, OPENED, ISSUED, RETURNED, POPPED, TRY_AT, ACT_AT = range(9)
HITS, MISSES, CONFLICTS, LATENCY, READS = range(9, 14)
"""Columns of `Channels.counts`: clock; reads under way; reads that wait in the queue; reads whose
row was opened for them; reads issued, returned by the memory, and taken by the requester; the first
clock at which a command may be ready; that of an ACT or PRE after an ACT; then statistics."""

ROW, BANK_READ, BANK_ACT, BANK_PRE = range(4)


class Channels(NamedTuple):
    """State of all channels; first axis: channel."""

    counts: Ints  # (channel, 14)
    queue: Ints  # (channel, 33, 4): bank, row, arrival, number; oldest first
    counted: Ints  # (channel, 33): 1 once a queued read was counted as hit, miss or conflict
    opened: Ints  # (channel, 33, 4): as `queue`, in order of their ACT
    back: Ints  # (channel, 32, 2): clock of an issued read's data, and its number, a ring
    bank: Ints  # (channel, 4, 32)
    group: Ints  # (channel, 2, 8): first clock of the next read, of the next ACT
    pseudo: Ints  # (channel, 2, 2): as `group`
    acts: Ints  # (channel, 2, 5): clocks of the last four ACT, a ring, and its next place


def idle_channels(channels: int) -> Channels:
    """Return channels at clock 0, all banks closed."""
    state = Channels(
        counts=np.zeros((channels, 14), np.int64),
        queue=np.zeros((channels, PLACES, 4), np.int64),
        counted=np.zeros((channels, PLACES), np.int64),
        opened=np.zeros((channels, PLACES, 4), np.int64),
        back=np.zeros((channels, QUEUE_DEPTH, 2), np.int64),
        bank=np.zeros((channels, 4, BANKS), np.int64),
        group=np.zeros((channels, 2, GROUPS), np.int64),
        pseudo=np.zeros((channels, 2, PSEUDO), np.int64),
        acts=np.full((channels, 2, 5), -FOUR_ACT, np.int64),
    )
    state.bank[:, ROW] = CLOSED
    state.acts[:, :, 4] = 0
    return state


@inlined
def accept(state: Channels, c: int, address: int, outstanding: int) -> bool:
    """Let one read enter, unless so many are under way; the address is the channel's own."""
    count = state.counts[c]
    if count[PENDING] >= outstanding:
        return False
    place = state.queue[c, count[WAITING]]
    pseudo, group, bank = (address >> 9) & 1, (address >> 10) & 3, (address >> 12) & 3
    place[0] = (pseudo * 4 + group) * 4 + bank
    place[1] = (address >> 14) & 0x7FFF
    place[2] = count[CLOCK]
    place[3] = count[READS]
    state.counted[c, count[WAITING]] = 0
    count[WAITING] += 1
    count[PENDING] += 1
    count[READS] += 1
    count[TRY_AT] = 0
    return True


@inlined
def take(state: Channels, c: int) -> bool:
    """Take one finished read out, if there is one."""
    count = state.counts[c]
    if count[POPPED] == count[RETURNED]:
        return False
    count[POPPED] += 1
    count[PENDING] -= 1
    return True


@inlined
def tick(state: Channels, c: int) -> None:
    """Advance one clock: return at most one read, issue at most one command."""
    count = state.counts[c]
    count[CLOCK] += 1
    now = count[CLOCK]
    if count[RETURNED] < count[ISSUED] and state.back[c, count[RETURNED] & RING, 0] <= now:
        count[RETURNED] += 1
    if count[TRY_AT] > now:
        return
    soonest = NEVER
    if count[OPENED] > 0:
        place, soonest = oldest_ready_opened(state, c, now)
        if place >= 0:
            read_opened(state, c, now, place)
            count[TRY_AT] = now + 1
            return
    place, other = oldest_ready_waiting(state, c, now)
    if place < 0:
        count[TRY_AT] = min(soonest, other)
        return
    count[TRY_AT] = now + 1
    serve_waiting(state, c, now, place)


@inlined
def oldest_ready_opened(state: Channels, c: int, now: int) -> tuple[int, int]:
    """Return the place of the oldest read of the active list that is ready, else -1 and when."""
    best, arrival, soonest = -1, NEVER, NEVER
    for i in range(state.counts[c, OPENED]):
        b = state.opened[c, i, 0]
        ready = max(
            state.bank[c, BANK_READ, b], state.group[c, 0, b >> 2], state.pseudo[c, 0, b >> 4]
        )
        if ready > now:
            soonest = min(soonest, ready)
        elif state.opened[c, i, 2] < arrival:
            best, arrival = i, state.opened[c, i, 2]
    return best, soonest


@inlined
def oldest_ready_waiting(state: Channels, c: int, now: int) -> tuple[int, int]:
    """Return the place of the oldest queued read whose next command is ready, else -1 and when."""
    soonest = NEVER
    act_at = state.counts[c, ACT_AT]
    for i in range(state.counts[c, WAITING]):
        b = state.queue[c, i, 0]
        row = state.bank[c, ROW, b]
        if row == state.queue[c, i, 1]:
            ready = max(
                state.bank[c, BANK_READ, b], state.group[c, 0, b >> 2], state.pseudo[c, 0, b >> 4]
            )
        elif row == CLOSED:
            ready = max(
                state.bank[c, BANK_ACT, b],
                act_at,
                state.group[c, 1, b >> 2],
                state.pseudo[c, 1, b >> 4],
            )
        else:
            ready = max(state.bank[c, BANK_PRE, b], act_at)
        if ready <= now:
            return i, soonest
        soonest = min(soonest, ready)
    return -1, soonest


@inlined
def issue_read(state: Channels, c: int, now: int, b: int, arrival: int, number: int) -> None:
    """Read the open row of bank b."""
    count = state.counts[c]
    state.bank[c, BANK_PRE, b] = max(state.bank[c, BANK_PRE, b], now + READ_TO_PRE)
    state.group[c, 0, b >> 2] = now + GROUP_READ
    state.pseudo[c, 0, b >> 4] = now + PSEUDO_READ
    state.back[c, count[ISSUED] & RING, 0] = now + READ_TO_DATA
    state.back[c, count[ISSUED] & RING, 1] = number
    count[ISSUED] += 1
    count[LATENCY] += now + READ_TO_DATA - arrival


@inlined
def read_opened(state: Channels, c: int, now: int, place: int) -> None:
    """Read for an entry of the active list."""
    entry = state.opened[c]
    issue_read(state, c, now, entry[place, 0], entry[place, 2], entry[place, 3])
    state.counts[c, OPENED] -= 1
    for i in range(place, state.counts[c, OPENED]):
        for field in range(4):
            entry[i, field] = entry[i + 1, field]


@inlined
def serve_waiting(state: Channels, c: int, now: int, place: int) -> None:
    """Issue the next command of a queued read, unless it would close a row that is waited for."""
    count = state.counts[c]
    read = state.queue[c, place]
    b, wanted, arrival, number = read[0], read[1], read[2], read[3]
    row = state.bank[c, ROW, b]
    if row not in (wanted, CLOSED):
        for i in range(count[OPENED]):
            if state.opened[c, i, 0] == b:
                return
    if state.counted[c, place] == 0:
        state.counted[c, place] = 1
        count[HITS if row == wanted else (MISSES if row == CLOSED else CONFLICTS)] += 1
    if row == wanted:
        issue_read(state, c, now, b, arrival, number)
    elif row == CLOSED:
        state.bank[c, ROW, b] = wanted
        state.bank[c, BANK_READ, b] = now + ACT_TO_READ
        state.bank[c, BANK_PRE, b] = max(state.bank[c, BANK_PRE, b], now + ACT_TO_PRE)
        state.bank[c, BANK_ACT, b] = now + ACT_TO_ACT
        state.group[c, 1, b >> 2] = now + GROUP_ACT
        acts = state.acts[c, b >> 4]
        acts[acts[4]] = now
        acts[4] = (acts[4] + 1) & 3
        state.pseudo[c, 1, b >> 4] = max(now + PSEUDO_ACT, acts[acts[4]] + FOUR_ACT)
        count[ACT_AT] = now + CHANNEL_ACT
        entry = state.opened[c, count[OPENED]]
        entry[0], entry[1], entry[2], entry[3] = b, wanted, arrival, number
        count[OPENED] += 1
    else:
        state.bank[c, ROW, b] = CLOSED
        state.bank[c, BANK_ACT, b] = max(state.bank[c, BANK_ACT, b], now + PRE_TO_ACT)
        return  # the read stays in the queue
    count[WAITING] -= 1
    for i in range(place, count[WAITING]):
        for field in range(4):
            state.queue[c, i, field] = state.queue[c, i + 1, field]
        state.counted[c, i] = state.counted[c, i + 1]


@njit(cache=True)
def run_stream(
    state: Channels, addresses: Ints, outstanding: int, accepted: Ints, done: Ints
) -> None:
    """Send reads to channel 0, one a clock, at most so many outstanding; note their clocks."""
    sent = returned = 0
    while returned < addresses.size:
        clock = state.counts[0, CLOCK]
        if sent < addresses.size and accept(state, 0, addresses[sent], outstanding):
            accepted[sent] = clock
            sent += 1
        tick(state, 0)
        if returned < state.counts[0, RETURNED]:
            done[state.back[0, returned & RING, 1]] = state.counts[0, CLOCK]
            take(state, 0)
            returned += 1
