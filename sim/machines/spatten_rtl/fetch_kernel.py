"""The matrix fetcher and the way to memory: requests, transactions, lanes, channels.

mit-han-lab/spatten: MatrixFetcher.scala, AXIDataLoader.scala, UnalignedFIFO.scala, SpAtten.scala
(crossbar), DRAMSim.scala and the test bench's driver.
"""

from __future__ import annotations

from sim.dram.ramulator2023_kernel import Channels, accept, take, tick
from sim.machines.spatten_rtl.layout import (
    ADDRESS_POPS,
    ADDRESSES,
    ALIGNED,
    ANSWER,
    AR,
    AR_CHANNEL,
    CHANNEL_LOCK,
    CONTEXTS,
    CONVERTED,
    E_KEY_FETCH,
    E_KEY_LINES,
    E_READ,
    E_SPLIT,
    E_VALUE_FETCH,
    E_VALUE_LINES,
    FETCH_LAST,
    FETCH_LOCK,
    FRAGMENT,
    GRANT,
    GRANULES,
    ID_POPPED,
    ID_PUSHED,
    KEY_BASE,
    KEY_BYTES,
    KEY_GRANULES,
    KEY_PARTS,
    KEY_POP,
    KEY_REQUEST,
    LANE_LOCK,
    LOADER_OLD,
    LOADER_POPS,
    LOADER_PUSHED,
    LOADER_VISIBLE,
    OUTSTANDING,
    POPS,
    PUSHED,
    REFUSED,
    REMAINING,
    RESPONSE_LINK,
    RESULT_OLD,
    RESULT_POPS,
    RESULT_PUSHED,
    RESULT_VISIBLE,
    RESULTS,
    SENT,
    SPLIT0,
    SPLIT1,
    SPLIT_FIRST,
    TO_LOADER,
    VALUE_REQUEST,
    VISIBLE,
    WRITE_DATA,
    Ints,
    Sizes,
    State,
    inlined,
    note,
    push,
    room,
    visible,
)


@inlined
def collect(state: State, requests: Ints, sizes: Sizes, cycle: int) -> None:
    """Step the fetcher's data side: results of all lanes, realigned, into line pairs."""
    reg = state.reg
    item = reg[CONVERTED]
    if item >= 0:
        buf = state.buffer[item >> 1]
        complete = True
        for port in range(2):
            if buf[RESPONSE_LINK + port] == 1:
                if buf[WRITE_DATA + port] < 0:
                    buf[WRITE_DATA + port] = item & 1
                    buf[RESPONSE_LINK + port] = 0
                else:
                    complete = False
        if complete:
            buf[RESPONSE_LINK] = buf[RESPONSE_LINK + 1] = 1
            reg[CONVERTED] = -1
    if reg[CONVERTED] < 0 and reg[ALIGNED] >= 0:
        reg[CONVERTED] = reg[ALIGNED]
        reg[ALIGNED] = -1
        note(state, E_VALUE_LINES if reg[CONVERTED] & 2 else E_KEY_LINES, cycle + 1)
    granules = reg[GRANULES]
    if reg[ALIGNED] < 0 and granules > 0 and visible(state, CONTEXTS):
        context = state.ring[CONTEXTS, state.fifo[POPS, CONTEXTS] & 15]
        kind, request = context & 3, context >> 2
        if reg[REMAINING] == 0:
            reg[REMAINING] = requests[request, KEY_GRANULES + kind]
        pop = requests[request, KEY_POP + kind]
        if granules >= pop:
            reg[REMAINING] -= pop
            last = reg[REMAINING] == 0
            reg[ALIGNED] = (2 if kind == 2 else 0) | (1 if last else 0)
            reg[GRANULES] -= pop
            if last:
                state.fifo[POPS, CONTEXTS] += 1
    if reg[RESULTS] >= 0 and granules + sizes.push_granules <= sizes.capacity_granules:
        reg[GRANULES] += sizes.push_granules
        reg[RESULTS] = -1
    if reg[RESULTS] < 0:
        popped = state.lane[0, RESULT_POPS]
        complete = True
        for k in range(sizes.lanes):
            if state.lane[k, RESULT_VISIBLE] <= popped:
                complete = False
                break
        if complete:
            state.lane[0, RESULT_POPS] = popped + 1
            reg[RESULTS] = 1


@inlined
def split_requests(state: State, requests: Ints, sizes: Sizes, cycle: int) -> None:
    """Step the fetcher's request side: arbitration of K and V, transactions, address FIFOs.

    Items: ((request * 4096 + group) * 4 + kind) * 4 + 2 * ... see `fetch_item`.
    """
    reg = state.reg
    if reg[SPLIT1] >= 0:
        takes = room(state, CONTEXTS, 16)
        if takes:
            pushed = state.fifo[PUSHED, ADDRESSES]
            for k in range(sizes.lanes):
                if pushed - state.lane[k, ADDRESS_POPS] >= 16:
                    takes = False
                    break
        if takes:
            item = reg[SPLIT1]
            state.address_ring[state.fifo[PUSHED, ADDRESSES] & 15] = item
            state.fifo[PUSHED, ADDRESSES] += 1
            if reg[SPLIT_FIRST] == 1:
                push(state, CONTEXTS, 15, ((item >> 20) << 2) | ((item >> 4) & 3))
            reg[SPLIT_FIRST] = item & 1
            reg[SPLIT1] = -1
            note(state, E_SPLIT, cycle)
    if reg[SPLIT1] < 0:
        reg[SPLIT1] = reg[SPLIT0]
        reg[SPLIT0] = -1
    key, value = reg[KEY_REQUEST], reg[VALUE_REQUEST]
    chosen = reg[FETCH_LOCK]
    if chosen < 0:
        if key >= 0 and value >= 0:
            chosen = 1 - reg[FETCH_LAST]
        elif key >= 0:
            chosen = 0
        elif value >= 0:
            chosen = 1
    if chosen >= 0:
        item = key if chosen == 0 else value
        if item >= 0:
            reg[FETCH_LAST] = chosen
            reg[FETCH_LOCK] = chosen
            if reg[SPLIT0] < 0:
                kind, request = (item >> 4) & 3, item >> 20
                fragment = reg[FRAGMENT]
                final = fragment == requests[request, KEY_PARTS + kind] - 1
                reg[SPLIT0] = (item & ~15) | (fragment << 1) | (1 if final and item & 1 else 0)
                reg[FRAGMENT] = 0 if final else fragment + 1
                if final:
                    note(state, E_VALUE_FETCH if kind == 2 else E_KEY_FETCH, cycle)
                    if item & 1:
                        reg[FETCH_LOCK] = -1
                    if chosen == 0:
                        reg[KEY_REQUEST] = -1
                    else:
                        reg[VALUE_REQUEST] = -1


@inlined
def receive(state: State, sizes: Sizes) -> None:
    """Move answers of the channels to the lanes that wait for them, oldest first."""
    for c in range(sizes.channels):
        channel = state.channel[c]
        if channel[ANSWER] == 0:
            continue
        k = state.ids[c, channel[ID_POPPED] & 63]
        lane = state.lane[k]
        if lane[LANE_LOCK] >= 0 and lane[LANE_LOCK] != c:
            continue
        if lane[LANE_LOCK] == -2:
            continue
        if (
            lane[LOADER_VISIBLE] > lane[LOADER_POPS]
            and lane[RESULT_PUSHED] - state.lane[0, RESULT_OLD] < 64
        ):
            lane[LOADER_POPS] += 1
            lane[RESULT_PUSHED] += 1
            lane[LANE_LOCK] = -2  # served in this clock
            channel[ANSWER] = 0
            channel[ID_POPPED] += 1
        else:
            lane[LANE_LOCK] = c
    for k in range(sizes.lanes):
        if state.lane[k, LANE_LOCK] == -2:
            state.lane[k, LANE_LOCK] = -1


@inlined
def send(state: State, requests: Ints, rom: Ints, places: Ints, sizes: Sizes, cycle: int) -> None:
    """Move addresses from the lanes to the channels: lowest lane first, one a channel."""
    for c in range(sizes.channels):
        state.channel[c, GRANT] = state.channel[c, CHANNEL_LOCK]
        state.channel[c, SENT] = -1
    for k in range(sizes.lanes):
        lane = state.lane[k]
        if lane[AR] >= 0:
            channel = state.channel[lane[AR_CHANNEL]]
            if channel[GRANT] < 0:
                channel[GRANT] = k
    for c in range(sizes.channels):
        channel = state.channel[c]
        k = channel[GRANT]
        if k >= 0:
            if channel[REFUSED] < 0:
                channel[SENT] = state.lane[k, AR]
                state.lane[k, AR] = -1
                state.ids[c, channel[ID_PUSHED] & 63] = k
                channel[ID_PUSHED] += 1
                channel[CHANNEL_LOCK] = -1
                note(state, E_READ, cycle)
            else:
                channel[CHANNEL_LOCK] = k
    shown = state.fifo[VISIBLE, ADDRESSES]
    for k in range(sizes.lanes):
        lane = state.lane[k]
        if lane[TO_LOADER] == 1 and lane[LOADER_PUSHED] - lane[LOADER_OLD] < 64:
            lane[LOADER_PUSHED] += 1
            lane[TO_LOADER] = 0
        if lane[ADDRESS_POPS] < shown and lane[TO_LOADER] == 0 and lane[AR] < 0:
            item = state.address_ring[lane[ADDRESS_POPS] & 15]
            lane[ADDRESS_POPS] += 1
            lane[TO_LOADER] = 1
            kind, request, group = (item >> 4) & 3, item >> 20, (item >> 6) & 0x3FFF
            parts = requests[request, KEY_PARTS + kind]
            flat = places[parts - 1, (item >> 1) & 7, k]
            row = rom[1 if kind == 2 else 0, group, flat >> 3]
            address = requests[request, KEY_BASE + kind]
            address += row * requests[request, KEY_BYTES + kind] + 32 * (flat & 7)
            lane[AR_CHANNEL] = (address >> 5) & (sizes.channels - 1)
            lane[AR] = (address >> (5 + sizes.channel_bits)) << 5


@inlined
def clock_memory(state: State, memory: Channels, sizes: Sizes) -> None:
    """End a clock in the memory: at most one read enters a channel, one leaves, then it ticks."""
    for c in range(sizes.channels):
        channel = state.channel[c]
        if channel[REFUSED] >= 0:
            if accept(memory, c, channel[REFUSED], OUTSTANDING):
                channel[REFUSED] = -1
        elif channel[SENT] >= 0 and not accept(memory, c, channel[SENT], OUTSTANDING):
            channel[REFUSED] = channel[SENT]
        if channel[ANSWER] == 0 and take(memory, c):
            channel[ANSWER] = 1
        tick(memory, c)
