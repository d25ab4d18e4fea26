"""From scores to a response: top-k stand-in, V fetch and read, Prob.V.

mit-han-lab/spatten: SpAttenController.scala (second half), TopKDummy of TopK.scala,
MultiplyValue.scala.
"""

from __future__ import annotations

from sim.machines.spatten_rtl.buffer_kernel import allocatable, allocate
from sim.machines.spatten_rtl.layout import (
    BUSY,
    DATA,
    DONE,
    E_PRODUCT,
    E_RESPONSE,
    E_VALUE_ALLOCATE,
    E_VALUE_READ,
    IDLE,
    KEYS,
    LAST_RESPONSE,
    ON_FLY,
    PACKED,
    PACKED_BEATS,
    PACKED_GROUP,
    POPS,
    PROB_VALUE,
    PROBABILITIES,
    READ_LINES,
    READ_START,
    READ_TAG,
    RELOAD1,
    STARTING,
    TOPK,
    TOPK_CYCLES,
    TOPK_LOCK,
    TOPK_SENT,
    TOPK_WAIT,
    VALUE_ALLOCATED,
    VALUE_BATCH,
    VALUE_FUSED,
    VALUE_HANDLE,
    VALUE_LINES,
    VALUE_LINK0,
    VALUE_LINK1,
    VALUE_LINK2,
    VALUE_LINK3,
    VALUE_REQUEST,
    VALUE_START,
    VALUE_WRITE_LINK0,
    VALUE_WRITE_LINK1,
    VALUES,
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
def select(state: State, requests: Ints, sizes: Sizes, cycle: int) -> None:
    """Step the top-k stand-in: a row waits its latency, then its first values pass in order."""
    reg = state.reg
    mask = sizes.lines - 1
    on_fly = reg[ON_FLY]
    chosen = reg[TOPK_LOCK]
    selected = skipping = -1
    fires = False
    shown = visible(state, TOPK)
    if shown:
        beat = state.ring[TOPK, state.fifo[POPS, TOPK] & mask]
        request = beat >> 5
        if not (beat & 2 and reg[TOPK_WAIT] < requests[request, TOPK_CYCLES]):
            if reg[TOPK_SENT] >= requests[request, VALUES]:
                fires = True  # dropped
            else:
                selected = beat
    held = reg[RELOAD1]
    skips = held >= 0 and requests[held >> 5, VALUES] >= requests[held >> 5, KEYS]
    if skips and on_fly == 0:
        skipping = held
    if chosen < 0:
        if selected >= 0:
            chosen = 0
        elif skipping >= 0:
            chosen = 1
    if chosen == 0 and selected >= 0:
        reg[TOPK_LOCK] = 0
        sent = reg[TOPK_SENT] + sizes.rows_per_line
        last = sent >= requests[selected >> 5, VALUES] or selected & 1
        out = (selected & ~1) | (1 if last else 0)
        if allocate_values(state, requests, sizes, cycle, out, selected & 2 != 0):
            fires = True
            if last:
                reg[TOPK_LOCK] = -1
                reg[ON_FLY] -= 1
    elif chosen == 1 and skipping >= 0:
        reg[TOPK_LOCK] = 1
        if allocate_values(state, requests, sizes, cycle, skipping, skipping & 2 != 0):
            reg[RELOAD1] = -1
            if skipping & 1:
                reg[TOPK_LOCK] = -1
    if fires:
        beat = state.ring[TOPK, state.fifo[POPS, TOPK] & mask]
        reg[TOPK_SENT] = 0 if beat & 1 else reg[TOPK_SENT] + sizes.rows_per_line
        state.fifo[POPS, TOPK] += 1
    reg[TOPK_WAIT] = 0 if fires or not shown else reg[TOPK_WAIT] + 1
    held = reg[RELOAD1]
    if held >= 0 and not skips and room(state, TOPK, sizes.lines):
        push(state, TOPK, mask, held)
        reg[ON_FLY] += (held >> 1) & 1
        reg[RELOAD1] = -1


@inlined
def allocate_values(
    state: State, requests: Ints, sizes: Sizes, cycle: int, beat: int, first: bool
) -> bool:
    """Let a beat through the V allocator if there is room; its first one takes the lines."""
    reg, buf = state.reg, state.buffer[1]
    request = beat >> 5
    lines = 0
    if first and beat & 16 == 0:
        lines = requests[request, VALUE_LINES] * requests[request, VALUE_FUSED]
    if reg[VALUE_ALLOCATED] >= 0 or not allocatable(buf, cycle, lines, sizes.lines):
        return False
    if lines > 0:
        reg[VALUE_START], reg[VALUE_HANDLE] = allocate(state, 1, lines, sizes.lines)
    state.value_handle[request] = reg[VALUE_HANDLE]
    reg[VALUE_ALLOCATED] = beat
    note(state, E_VALUE_ALLOCATE, cycle + 1)
    return True


@inlined
def fork_values(state: State, requests: Ints, sizes: Sizes) -> None:
    """Step the fork behind the V allocator: write range, V fetch, read range, probabilities."""
    reg, buf = state.reg, state.buffer[1]
    if reg[PACKED] >= 0 and reg[VALUE_REQUEST] < 0:
        reg[VALUE_REQUEST] = reg[PACKED]
        reg[PACKED] = -1
    beat = reg[VALUE_ALLOCATED]
    if beat < 0:
        return
    request, part = beat >> 5, (beat >> 4) & 1
    first, last = (beat & 2) != 0, (beat & 1) != 0
    lines, fused = requests[request, VALUE_LINES], requests[request, VALUE_FUSED]
    if reg[VALUE_LINK0] == 1:
        if not first or part != 0:
            reg[VALUE_LINK0] = 0
        else:
            for port in range(2):
                if reg[VALUE_WRITE_LINK0 + port] == 1 and buf[WRITE_START + port] < 0:
                    step = lines if fused != 1 else 1
                    buf[WRITE_START + port] = reg[VALUE_START] + port * step
                    buf[WRITE_STEP + port] = 1 if fused != 1 else 2
                    buf[WRITE_TAG + port] = reg[VALUE_BATCH]
                    reg[VALUE_WRITE_LINK0 + port] = 0
            if reg[VALUE_WRITE_LINK0] == 0 and reg[VALUE_WRITE_LINK1] == 0:
                reg[VALUE_WRITE_LINK0] = reg[VALUE_WRITE_LINK1] = 1
                reg[VALUE_LINK0] = 0
    if reg[VALUE_LINK1] == 1:
        if part != 0:
            reg[VALUE_LINK1] = 0
        elif reg[PACKED] < 0:
            reg[PACKED_BEATS] += 1
            if last or reg[PACKED_BEATS] * sizes.rows_per_line == sizes.lanes:
                reg[PACKED] = fetch_item(request, reg[PACKED_GROUP], 2, last)
                reg[PACKED_BEATS] = 0
                reg[PACKED_GROUP] = 0 if last else reg[PACKED_GROUP] + 1
            reg[VALUE_LINK1] = 0
    if reg[VALUE_LINK2] == 1:
        if not first:
            reg[VALUE_LINK2] = 0
        elif buf[READ_START] < 0:
            buf[READ_START] = reg[VALUE_START] + (lines * part if fused != 1 else 0)
            buf[READ_TAG] = reg[VALUE_BATCH]
            buf[READ_LINES] = lines
            reg[VALUE_LINK2] = 0
    if reg[VALUE_LINK3] == 1 and room(state, PROBABILITIES, sizes.queue_depth):
        push(state, PROBABILITIES, sizes.queue_depth - 1, beat)
        reg[VALUE_LINK3] = 0
    if reg[VALUE_LINK0] + reg[VALUE_LINK1] + reg[VALUE_LINK2] + reg[VALUE_LINK3] == 0:
        reg[VALUE_LINK0] = reg[VALUE_LINK1] = reg[VALUE_LINK2] = reg[VALUE_LINK3] = 1
        reg[VALUE_ALLOCATED] = -1
        if last and beat & 8:
            reg[VALUE_BATCH] += 1


@inlined
def join(state: State, sizes: Sizes, cycle: int, ready: bool) -> None:
    """Step Prob.V: a probability beat and a V line; the row's last one makes the response."""
    reg = state.reg
    line, shown = state.buffer[1, DATA] >= 0, visible(state, PROBABILITIES)
    if not (line and shown):
        unit = IDLE if ready else STARTING
        if line or shown:
            unit = WAITS_OTHER if line else WAITS_DATA
        state.units[PROB_VALUE, unit] += 1
        return
    state.units[PROB_VALUE, BUSY] += 1
    mask = sizes.queue_depth - 1
    beat = state.ring[PROBABILITIES, state.fifo[POPS, PROBABILITIES] & mask]
    state.fifo[POPS, PROBABILITIES] += 1
    state.buffer[1, DATA] = -1
    note(state, E_VALUE_READ, cycle)
    note(state, E_PRODUCT, cycle + 2 + sizes.tree_layers)
    if beat & 1:
        done = cycle + 3 + sizes.tree_layers
        state.responses[beat >> 5] = done
        note(state, E_RESPONSE, done)
        reg[DONE] += 1
        reg[LAST_RESPONSE] = done
        if beat & 8:
            state.manager[1, 1, state.value_handle[beat >> 5]] = done
