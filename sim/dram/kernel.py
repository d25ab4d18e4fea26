"""Requests against the channels of a DRAM: all at once (`serve`), or in order (`stream`).

Clocks in which nothing can happen are skipped. Nothing is allocated here.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

from numba import njit

from sim.dram import channel_kernel
from sim.dram.channel_kernel import (
    ENTERED,
    NEVER,
    OPENED,
    OPTIONS,
    REFRESH_DUE,
    REFRESH_LEFT,
    WAITING,
    Ints,
    State,
    Timing,
    begin,
    clock_channel,
    enter_queue,
    inlined,
    room_at,
    wake,
)

CHANNEL, BANK, ROW, COLUMN = range(4)
"""Entries of `Mapping.place`: where the address located last lies; the bank is its channel's."""

NOW, BEGIN, SENDS, HEAD, SENT, READS = range(6)
"""Entries of `Sender.front`: clock (NEVER: the stream has to begin), first clock at which a request
may enter, requests sent in this clock, the next request of the window, requests sent and requests
read since the stream began."""


class Mapping(NamedTuple):
    """How an address is split."""

    parts: Ints  # (part, 4): entry of place, lowest address bit, mask, lowest bit of the entry
    xor: Ints  # (part, 4): entry of place, lowest column bit, mask, lowest bit of the entry
    place: Ints  # (4,): result


class Sender(NamedTuple):
    """A source that sends requests in order, each when the queue of its channel has room."""

    front: Ints  # (6,)
    wakes: Ints  # (channel,): clocks at which the channels have to be looked at
    done_at: Ints  # (outstanding,): clocks at which reads completed, a ring; empty: no limit
    sends_per_cycle: int


@inlined
def locate(address: int, mapping: Mapping) -> None:
    """Split a transaction address into channel, bank within the channel, row and column."""
    parts, xor, place = mapping.parts, mapping.xor, mapping.place
    for entry in range(4):
        place[entry] = 0
    for p in range(parts.shape[0]):
        place[parts[p, 0]] |= ((address >> parts[p, 1]) & parts[p, 2]) << parts[p, 3]
    for x in range(xor.shape[0]):
        place[xor[x, 0]] ^= ((place[COLUMN] >> xor[x, 1]) & xor[x, 2]) << xor[x, 3]


@inlined
def serve_channel(
    c: int,
    addresses: Ints,
    order: Ints,
    first: int,
    last: int,
    arrival: int,
    until: int,
    mapping: Mapping,
    timing: Timing,
    state: State,
    done: Ints,
) -> None:
    """Serve requests order[first:last] that arrive together; then refresh up to clock `until`."""
    channel, place = state.channel[c], mapping.place
    enter_at = arrival + timing.queue_cycles
    now = begin(c, enter_at, until, timing, state)
    while (
        first < last
        or channel[WAITING] > 0
        or channel[OPENED] > 0
        or channel[REFRESH_LEFT] > 0
        or channel[REFRESH_DUE] < until
    ):
        while first < last and max(enter_at, room_at(c, timing, state)) <= now:
            locate(addresses[order[first]], mapping)
            age = channel[ENTERED]
            enter_queue(c, order[first], place[BANK], place[ROW], age, timing, state)
            first += 1
        following = clock_channel(c, now, timing, state, done)
        if first < last:
            following = min(following, max(enter_at, room_at(c, timing, state)))
        now = max(now + 1, following)


@inlined
def sendable_at(sender: Sender, mapping: Mapping, timing: Timing, state: State) -> int:
    """Return the clock at which the located request can enter its queue, NEVER if not yet known.

    It is sent `queue_cycles` before. Nothing overtakes it, whatever its channel.
    """
    at = max(sender.front[BEGIN], room_at(mapping.place[CHANNEL], timing, state))
    limit = sender.done_at.size
    if limit > 0 and sender.front[SENT] >= limit:
        freeing = sender.front[SENT] - limit
        if freeing >= sender.front[READS]:
            return NEVER
        at = max(at, sender.done_at[freeing % limit] + timing.queue_cycles)
    return int(at)


@inlined
def locate_head(addresses: Ints, sender: Sender, mapping: Mapping) -> None:
    """Locate the next request of the window, if there is one."""
    if sender.front[HEAD] < addresses.size:
        locate(addresses[sender.front[HEAD]], mapping)


@inlined
def send_requests(
    addresses: Ints, accepted: Ints, sender: Sender, mapping: Mapping, timing: Timing, state: State
) -> None:
    """Send what may be sent in this clock."""
    front, place = sender.front, mapping.place
    now = front[NOW]
    while front[HEAD] < addresses.size and front[SENDS] < sender.sends_per_cycle:
        if sendable_at(sender, mapping, timing, state) > now:
            return
        c = place[CHANNEL]
        accepted[front[HEAD]] = now - timing.queue_cycles
        enter_queue(c, front[HEAD], place[BANK], place[ROW], accepted[front[HEAD]], timing, state)
        sender.wakes[c] = min(sender.wakes[c], wake(c, state))
        front[HEAD] += 1
        front[SENT] += 1
        front[SENDS] += 1
        locate_head(addresses, sender, mapping)


@inlined
def begin_stream(arrival: int, sender: Sender, timing: Timing, state: State) -> None:
    """Go to the clock at which the first request may enter, or to refreshes that are due before."""
    front, wakes = sender.front, sender.wakes
    front[BEGIN] = front[NOW] = arrival + timing.queue_cycles
    for c in range(wakes.size):
        wakes[c] = begin(c, front[BEGIN], 0, timing, state)
        front[NOW] = min(front[NOW], wakes[c])


@inlined
def is_refreshing(state: State) -> bool:
    """Tell whether a channel has begun a refresh and not ended it."""
    left = 0
    for c in range(state.channel.shape[0]):
        left += state.channel[c, REFRESH_LEFT]
    return left > 0


@inlined
def clock_channels(sender: Sender, timing: Timing, state: State, done: Ints) -> int:
    """Issue what all channels may issue in this clock; returns the next clock to look at."""
    front, wakes = sender.front, sender.wakes
    limit, soonest = sender.done_at.size, NEVER
    for c in range(wakes.size):
        if wakes[c] <= front[NOW]:
            left = state.channel[c, WAITING] + state.channel[c, OPENED]
            wakes[c] = clock_channel(c, front[NOW], timing, state, done)
            if left > state.channel[c, WAITING] + state.channel[c, OPENED]:
                if limit > 0:
                    completed = front[NOW] + timing.read_to_data
                    sender.done_at[front[READS] % limit] = completed
                front[READS] += 1
        soonest = min(soonest, wakes[c])
    return int(soonest)


@njit(cache=True)
def locate_all(addresses: Ints, mapping: Mapping, places: Ints) -> None:
    """Split addresses (request,); places (4, request) is the result."""
    for i in range(addresses.size):
        locate(addresses[i], mapping)
        places[:, i] = mapping.place


def _compile(sources: int) -> tuple[Any, Any]:
    """Compile; numba's cache notices a change in this file only, so its key holds all sources."""

    @njit(cache=True, **OPTIONS)
    def serve(
        addresses: Ints,
        arrival: int,
        until: int,
        mapping: Mapping,
        timing: Timing,
        state: State,
        order: Ints,
        ends: Ints,
        done: Ints,
    ) -> None:
        """Serve one call, channel by channel.

        Args:
            addresses: (request,) that arrive together.
            arrival: clock of arrival.
            until: clock up to which channels without a request are refreshed too; 0: they are not.
            mapping, timing, state: of the device.
            order: (request,) working space.
            ends: (channel + 1,) working space, zeros.
            done: (request,) result, the clocks at which data is complete.
        """
        assert sources != 0  # a closure variable is part of the cache's key
        for i in range(addresses.size):
            locate(addresses[i], mapping)
            ends[mapping.place[CHANNEL] + 1] += 1
        for c in range(ends.size - 1):
            ends[c + 1] += ends[c]  # ends[c]: where channel c begins
        for i in range(addresses.size):
            locate(addresses[i], mapping)
            c = mapping.place[CHANNEL]
            order[ends[c]] = i
            ends[c] += 1
        first = 0
        for c in range(ends.size - 1):
            last = ends[c]
            if last > first or until > 0:
                serve_channel(
                    c,
                    addresses,
                    order,
                    first,
                    last,
                    arrival,
                    until,
                    mapping,
                    timing,
                    state,
                    done,
                )
            first = last

    @njit(cache=True, **OPTIONS)
    def stream(
        addresses: Ints,
        arrival: int,
        is_last: bool,
        sender: Sender,
        mapping: Mapping,
        timing: Timing,
        state: State,
        accepted: Ints,
        done: Ints,
    ) -> None:
        """Send a window of a stream; the last one is also read.

        Args:
            addresses: (request,) of the window; those below the sender's HEAD were sent before.
            arrival: clock at which the stream begins.
            is_last: whether the stream ends with this window.
            sender, mapping, timing, state: of the source and the device.
            accepted: (request,) result, clocks at which requests were sent.
            done: (request,) result, clocks at which data is complete, where known by now.
        """
        assert sources != 0  # a closure variable is part of the cache's key
        front = sender.front
        if front[NOW] == NEVER:
            begin_stream(arrival, sender, timing, state)
        locate_head(addresses, sender, mapping)
        while True:
            send_requests(addresses, accepted, sender, mapping, timing, state)
            if front[HEAD] == addresses.size and not is_last:
                return  # the next window may send in this clock too
            soonest = clock_channels(sender, timing, state, done)
            if front[HEAD] < addresses.size:
                soonest = min(soonest, sendable_at(sender, mapping, timing, state))
            elif front[READS] == front[SENT] and not is_refreshing(state):
                return
            front[NOW] = max(front[NOW] + 1, soonest)
            front[SENDS] = 0

    return serve, stream


def _sources() -> int:
    files = (Path(channel_kernel.__file__), Path(__file__))
    return zlib.crc32(b"".join(file.read_bytes() for file in files)) | 1


serve, stream = _compile(_sources())
