"""From a request to its scores: K fetch and read, Q.K, the recomputation decision.

mit-han-lab/spatten: SpAttenController.scala (first half), DotProduct.scala, RequantDecision.scala.
"""

from __future__ import annotations

from sim.machines.spatten_rtl.buffer_kernel import allocatable, allocate
from sim.machines.spatten_rtl.layout import (
    AGAIN,
    AGAIN_SKID,
    ALLOCATED,
    BATCH,
    BROADCAST,
    BUSY,
    DATA,
    DECISION,
    DECISION_LINK0,
    DECISION_LINK1,
    DESERIALISED,
    DOT_AT,
    E_ACCEPT,
    E_DECISION,
    E_DOT,
    E_KEY_READ,
    E_ORDERED,
    E_REBATCHED,
    E_RELOADED,
    FINISH_COUNT,
    FIRST_BEAT,
    FORKED,
    GROUP,
    HANDLES,
    IDLE,
    KEY_FUSED,
    KEY_LINES,
    KEY_REQUEST,
    KEY_WRITE_LINK0,
    KEY_WRITE_LINK1,
    KEYS,
    LAST,
    LINK0,
    LINK1,
    LINK2,
    LINK3,
    MAX_AT,
    NEED_COUNT,
    NEW_LINK0,
    NEW_LINK1,
    NEW_LOCK,
    NORMAL,
    OLD_POPS,
    ORDER_LOCK,
    ORDERED,
    PART,
    POPS,
    PUSHED,
    QUERY_KEY,
    READ_LINES,
    READ_START,
    READ_TAG,
    REBATCHED,
    RECOMPUTE,
    RELOAD0,
    RELOAD1,
    REQUEST_FIFO,
    ROW_MAX,
    SCORES,
    SOURCE,
    STARTING,
    VALUE_FUSED,
    VALUE_PART,
    WAITS_DATA,
    WAITS_OTHER,
    WRITE_START,
    WRITE_STEP,
    WRITE_TAG,
    Ints,
    Sizes,
    State,
    fetch_item,
    inlined,
    note,
    push,
    room,
    visible,
)


@inlined
def admit(state: State, requests: Ints, sizes: Sizes, cycle: int, again: int) -> None:
    """Step the front: recomputations before new requests, K allocation, the bench's requests."""
    reg = state.reg
    used = state.fifo[PUSHED, REQUEST_FIFO] - state.fifo[OLD_POPS, REQUEST_FIFO]
    new = reg[ALLOCATED] if HANDLES - used >= 8 else -1
    chosen = reg[NEW_LOCK]
    if chosen < 0:
        if reg[AGAIN] >= 0:
            chosen = 0
        elif new >= 0:
            chosen = 1
    item = -1
    if chosen == 0:
        item = reg[AGAIN]
    elif chosen == 1:
        item = new
    if item >= 0:
        reg[NEW_LOCK] = chosen
        if reg[NEW_LINK0] == 1 and used < 16:
            push(state, REQUEST_FIFO, 15, item)
            reg[NEW_LINK0] = 0
        if reg[NEW_LINK1] == 1 and reg[FORKED] < 0:
            reg[FORKED] = item
            reg[NEW_LINK1] = 0
        if reg[NEW_LINK0] == 0 and reg[NEW_LINK1] == 0:
            reg[NEW_LINK0] = reg[NEW_LINK1] = 1
            reg[NEW_LOCK] = -1
            if chosen == 0:
                reg[AGAIN] = -1
            else:
                reg[ALLOCATED] = -1
    if reg[AGAIN] < 0:
        if reg[AGAIN_SKID] >= 0:
            reg[AGAIN] = reg[AGAIN_SKID]
            reg[AGAIN_SKID] = -1
        elif again >= 0:
            reg[AGAIN] = again | 1
    elif again >= 0:
        reg[AGAIN_SKID] = again | 1
    request = reg[SOURCE]
    if reg[ALLOCATED] < 0 and request < requests.shape[0]:
        lines = 0
        if requests[request, PART] == 0:
            lines = requests[request, KEY_LINES] * requests[request, KEY_FUSED]
        if allocatable(state.buffer[0], cycle, lines, sizes.lines):
            if lines > 0:
                state.start[request], state.handle[request] = allocate(state, 0, lines, sizes.lines)
            else:
                state.start[request] = state.start[request - 1]
                state.handle[request] = state.handle[request - 1]
            reg[ALLOCATED] = request << 1
            reg[SOURCE] += 1
            note(state, E_ACCEPT, cycle)


@inlined
def fork_request(state: State, requests: Ints, sizes: Sizes) -> None:
    """Step the fork of a request: write range, K fetch, read range; Q.K is in `multiply`."""
    reg, buf = state.reg, state.buffer[0]
    if reg[DESERIALISED] >= 0 and reg[KEY_REQUEST] < 0:
        reg[KEY_REQUEST] = reg[DESERIALISED]
        reg[DESERIALISED] = -1
    item = reg[FORKED]
    if item < 0:
        return
    request, again = item >> 1, item & 1
    lines, part = requests[request, KEY_LINES], requests[request, PART]
    fused = requests[request, KEY_FUSED]
    tag = (requests[request, BATCH] << 1) | again
    shares = part != 0 and again == 0
    start = state.start[request]
    if reg[LINK0] == 1:
        if shares:
            reg[LINK0] = 0
        else:
            for port in range(2):
                if reg[KEY_WRITE_LINK0 + port] == 1 and buf[WRITE_START + port] < 0:
                    if again == 1:
                        buf[WRITE_START + port] = start + lines * part + port
                        buf[WRITE_STEP + port] = 2
                    elif fused != 1:
                        buf[WRITE_START + port] = start + lines * port
                        buf[WRITE_STEP + port] = 1
                    else:
                        buf[WRITE_START + port] = start + port
                        buf[WRITE_STEP + port] = 2
                    buf[WRITE_TAG + port] = tag
                    reg[KEY_WRITE_LINK0 + port] = 0
            if reg[KEY_WRITE_LINK0] == 0 and reg[KEY_WRITE_LINK1] == 0:
                reg[KEY_WRITE_LINK0] = reg[KEY_WRITE_LINK1] = 1
                reg[LINK0] = 0
    if reg[LINK1] == 1:
        if shares:
            reg[LINK1] = 0
        elif reg[DESERIALISED] < 0:
            last = (reg[GROUP] + 1) * sizes.lanes >= requests[request, KEYS]
            reg[DESERIALISED] = fetch_item(request, reg[GROUP], again, last)
            reg[GROUP] = 0 if last else reg[GROUP] + 1
            if last:
                reg[LINK1] = 0
    if reg[LINK2] == 1 and buf[READ_START] < 0:
        buf[READ_START] = start + (lines * part if fused != 1 else 0)
        buf[READ_TAG] = tag
        buf[READ_LINES] = lines
        reg[LINK2] = 0
    if reg[LINK0] + reg[LINK1] + reg[LINK2] + reg[LINK3] == 0:
        reg[LINK0] = reg[LINK1] = reg[LINK2] = reg[LINK3] = 1
        reg[FORKED] = -1


@inlined
def multiply(state: State, sizes: Sizes, cycle: int, ready: bool) -> None:
    """Step Q.K: broadcast, multipliers and adder tree, row maximum, score FIFO."""
    reg = state.reg
    layers = sizes.tree_layers
    at = reg[DOT_AT]
    tail = state.dot[at]
    out = state.maximum[reg[MAX_AT]] if layers > 0 else tail
    taken = True
    if out >= 0:
        taken = room(state, SCORES, sizes.lines) and not (out & 1 and reg[ROW_MAX] == 1)
        if taken:
            push(state, SCORES, sizes.lines - 1, out)
            if out & 1:
                reg[ROW_MAX] = 1
    moves = taken or (layers > 0 and tail < 0)
    if layers > 0 and taken:
        state.maximum[reg[MAX_AT]] = tail
        reg[MAX_AT] = 0 if reg[MAX_AT] == layers - 1 else reg[MAX_AT] + 1
    if moves:
        if tail >= 0:
            note(state, E_DOT, cycle)
        state.dot[at] = reg[BROADCAST]
        reg[DOT_AT] = 0 if at == 6 else at + 1
        reg[BROADCAST] = -1
    line = state.buffer[0, DATA]
    wanted = reg[FORKED] >= 0 and reg[LINK3] == 1
    unit = IDLE if ready else STARTING
    if wanted and ready:
        unit = WAITS_DATA if line < 0 else WAITS_OTHER
    if wanted and line >= 0 and reg[BROADCAST] < 0:
        unit = BUSY
        item = reg[FORKED]
        reg[BROADCAST] = ((item >> 1) << 5) | ((item & 1) << 2) | (reg[FIRST_BEAT] << 1) | line
        reg[FIRST_BEAT] = line
        if line == 1:
            reg[LINK3] = 0
        state.buffer[0, DATA] = -1
        note(state, E_KEY_READ, cycle)
    state.units[QUERY_KEY, unit] += 1


@inlined
def decide(state: State, requests: Ints, sizes: Sizes, cycle: int) -> int:
    """Step the recomputation decision; returns a request to compute again, or -1.

    A row that must be computed again is dropped. Later rows wait behind it in a FIFO; its second
    pass overtakes them.
    """
    reg = state.reg
    mask = state.ring.shape[1] - 1
    beat = reg[DECISION]
    recomputed = beat >= 0 and beat & 4 != 0
    needs = beat >= 0 and not recomputed and requests[beat >> 5, RECOMPUTE] == 1
    bypass = recomputed and reg[DECISION_LINK1] == 1
    waiting = False
    if visible(state, NORMAL):
        item = state.ring[NORMAL, state.fifo[POPS, NORMAL] & mask]
        waiting = (item >> 40) <= reg[FINISH_COUNT]
    chosen = reg[ORDER_LOCK]
    if chosen < 0:
        if waiting:
            chosen = 0
        elif bypass:
            chosen = 1
    if (chosen == 0 and waiting) or (chosen == 1 and bypass):
        reg[ORDER_LOCK] = chosen
        if reg[ORDERED] < 0:
            if chosen == 0:
                out = state.ring[NORMAL, state.fifo[POPS, NORMAL] & mask] & ((1 << 40) - 1)
                state.fifo[POPS, NORMAL] += 1
            else:
                out = beat
                reg[DECISION_LINK1] = 0
            if out & 1:
                reg[ORDER_LOCK] = -1
                reg[FINISH_COUNT] = reg[FINISH_COUNT] + 1 if out & 4 else 0
            reg[ORDERED] = out
            note(state, E_ORDERED, cycle + 1)
    again = -1
    if beat >= 0:
        if reg[DECISION_LINK0] == 1:
            if beat & 2 == 0:
                reg[DECISION_LINK0] = 0
            elif visible(state, REQUEST_FIFO) and not (needs and reg[AGAIN_SKID] >= 0):
                item = state.ring[REQUEST_FIFO, state.fifo[POPS, REQUEST_FIFO] & 15]
                state.fifo[POPS, REQUEST_FIFO] += 1
                reg[DECISION_LINK0] = 0
                if needs:
                    again = item
                elif requests[item >> 1, LAST] == 1:
                    state.manager[0, 1, state.handle[item >> 1]] = cycle + 1
        if reg[DECISION_LINK1] == 1 and not recomputed:
            if needs:
                reg[DECISION_LINK1] = 0
            elif room(state, NORMAL, sizes.lines * 16):
                push(state, NORMAL, mask, beat | (reg[NEED_COUNT] << 40))
                reg[DECISION_LINK1] = 0
            if reg[DECISION_LINK1] == 0 and beat & 1:
                reg[NEED_COUNT] = reg[NEED_COUNT] + 1 if needs else 0
        if reg[DECISION_LINK0] == 0 and reg[DECISION_LINK1] == 0:
            reg[DECISION_LINK0] = reg[DECISION_LINK1] = 1
            reg[DECISION] = -1
    if reg[DECISION] < 0 and reg[ROW_MAX] == 1 and visible(state, SCORES):
        beat = state.ring[SCORES, state.fifo[POPS, SCORES] & (sizes.lines - 1)]
        state.fifo[POPS, SCORES] += 1
        reg[DECISION] = beat
        if beat & 1:
            reg[ROW_MAX] = 0
        note(state, E_DECISION, cycle + 1)
    return again


@inlined
def rebatch(state: State, requests: Ints, cycle: int) -> None:
    """Step the registers between decision and top-k; number the members of a fused V pair."""
    reg = state.reg
    if reg[RELOAD1] < 0 and reg[RELOAD0] >= 0:
        reg[RELOAD1] = reg[RELOAD0]
        reg[RELOAD0] = -1
        note(state, E_RELOADED, cycle + 1)
    if reg[RELOAD0] < 0 and reg[REBATCHED] >= 0:
        reg[RELOAD0] = reg[REBATCHED]
        reg[REBATCHED] = -1
    beat = reg[ORDERED]
    if reg[REBATCHED] < 0 and beat >= 0:
        request = beat >> 5
        fused = requests[request, VALUE_FUSED]
        if requests[request, KEY_FUSED] == 1 and fused == 1:
            part, last_part = requests[request, PART], requests[request, LAST]
        else:
            part = reg[VALUE_PART]
            last_part = 1 if part == fused - 1 else 0
        reg[REBATCHED] = (beat & ~28) | (part << 4) | (last_part << 3)
        reg[ORDERED] = -1
        if beat & 1:
            reg[VALUE_PART] = 0 if reg[VALUE_PART] >= fused - 1 else reg[VALUE_PART] + 1
        note(state, E_REBATCHED, cycle + 1)
