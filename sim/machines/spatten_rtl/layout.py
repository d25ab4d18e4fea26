"""State of the released RTL's model: registers, FIFOs and counters, and how they are stepped.

Two shapes cover almost all of the machine:

- a register slot holds one item (-1: empty); it takes a new one when it is empty or just emptied;
- a FIFO shows an item two clocks after its push, and its ready signal is that of the clock's
  start: `State.fifo` keeps what was pushed, what is visible, and what had been popped.

An item is an integer. A score beat: request * 32 + V part * 16 + last V part * 8 + recomputed * 4 +
first of the row * 2 + last of the row. A fetch: see `fetch_item`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

inlined = njit(inline="always")  # a call would copy the whole `State`

RESET_CYCLES = 16
MANAGER_READY = 32  # the buffer managers clear 16 tags after reset
HANDLES = 16
RECYCLE_CYCLES = 3  # from a release to the allocator's seeing it
OUTSTANDING = 16  # reads of a channel that the bench's driver lets be under way
NEVER = 1 << 62

(
    KEYS, VALUES, KEY_LINES, VALUE_LINES, KEY_FUSED, VALUE_FUSED, KEY_BASE, LSB_BASE, VALUE_BASE,
    KEY_BYTES, LSB_BYTES, VALUE_BYTES, KEY_PARTS, LSB_PARTS, VALUE_PARTS, KEY_POP, LSB_POP,
    VALUE_POP, KEY_GRANULES, LSB_GRANULES, VALUE_GRANULES, RECOMPUTE, PART, LAST, BATCH,
    TOPK_CYCLES,
) = range(26)  # fmt: skip
REQUEST_COLUMNS = 26
"""Columns of a request. PARTS: 32-byte transactions of a row; POP: granules of the unaligned FIFO
that make a line pair; GRANULES: of the whole matrix."""

REQUEST_FIFO, CONTEXTS, SCORES, NORMAL, TOPK, PROBABILITIES, ADDRESSES = range(7)
"""FIFOs: undecided requests, fetcher contexts, scores before the decision, rows after it, top-k,
probabilities before Prob.V, and the fetcher's address FIFOs, which are all pushed together."""

PUSHED, PREVIOUS, VISIBLE, POPS, OLD_POPS = range(5)
"""Rows of `State.fifo`."""

DATA, RESPONSE, BANK_RESPONSE, BANK_STAGE, ISSUE, GENERATED, READ_START = 0, 1, 2, 4, 6, 7, 8
READ_TAG, READ_LINES, READ_AT, HEAD_COMMIT, HEAD_ISSUE, TAIL, FRESH, FLAG_OUT, FLAG_IN = range(
    9, 18
)
BANK_LOCK = 18
WRITE_DATA, WRITE_START, WRITE_STEP, WRITE_TAG, WRITE_LINE, SKID, WRITE = 20, 22, 24, 26, 28, 30, 32
BANK_WRITE, WRITE_LOCK, WRITE_LAST, RESPONSE_LINK = 34, 36, 38, 40
BUFFER_READS, BUFFER_WRITES = 42, 44
MANAGER_HEAD, MANAGER_TAIL, MANAGER_LINES, MANAGER_NEXT = 46, 47, 48, 49
BUFFER_FIELDS = 50
"""Columns of `State.buffer`; pairs of them are per bank or per write port."""

(
    SOURCE, ALLOCATED, NEW_LOCK, NEW_LINK0, NEW_LINK1, AGAIN, AGAIN_SKID, FORKED, LINK0, LINK1,
    LINK2, LINK3, KEY_WRITE_LINK0, KEY_WRITE_LINK1, DESERIALISED, GROUP, KEY_REQUEST, BROADCAST,
    FIRST_BEAT, DOT_AT, MAX_AT, ROW_MAX, DECISION, DECISION_LINK0, DECISION_LINK1, NEED_COUNT,
    FINISH_COUNT, ORDER_LOCK, ORDERED, REBATCHED, VALUE_PART, RELOAD0, RELOAD1, TOPK_WAIT,
    TOPK_SENT, ON_FLY, TOPK_LOCK, VALUE_ALLOCATED, VALUE_START, VALUE_HANDLE, VALUE_BATCH,
    VALUE_LINK0, VALUE_LINK1, VALUE_LINK2, VALUE_LINK3, VALUE_WRITE_LINK0, VALUE_WRITE_LINK1,
    PACKED, PACKED_BEATS, PACKED_GROUP, VALUE_REQUEST, FETCH_LOCK, FETCH_LAST, FRAGMENT, SPLIT0,
    SPLIT1, SPLIT_FIRST, RESULTS, GRANULES, REMAINING, ALIGNED, CONVERTED, DONE, LAST_RESPONSE,
) = range(64)  # fmt: skip
"""Entries of `State.reg`."""

(
    E_ACCEPT, E_KEY_FETCH, E_SPLIT, E_READ, E_KEY_LINES, E_KEY_WRITE, E_KEY_READ, E_DOT,
    E_DECISION, E_ORDERED, E_REBATCHED, E_RELOADED, E_VALUE_ALLOCATE, E_VALUE_FETCH,
    E_VALUE_LINES, E_VALUE_READ, E_PRODUCT, E_RESPONSE,
) = range(18)  # fmt: skip
EVENTS = (
    "request accepted", "K fetch request", "split request", "DRAM read", "K line pair",
    "K line written", "K line to Q.K", "Q.K result", "decision", "row after the decision",
    "row rebatched", "row with indices", "V allocation", "V fetch request", "V line pair",
    "V line to Prob.V", "Prob.V result", "response",
)  # fmt: skip
"""Rows of `State.events`, and what they are called."""

FIRST, FINAL, COUNT = range(3)
"""Columns of `State.events`."""


class Sizes(NamedTuple):
    """The machine's sizes; counts are powers of two."""

    lanes: int  # fetch lanes
    channels: int
    channel_bits: int
    lines: int  # lines of one buffer
    rows_per_line: int  # scores per clock
    tree_layers: int  # of the row maximum: log2(rows_per_line)
    granule_bits: int  # of the unaligned FIFO
    push_granules: int
    capacity_granules: int
    queue_depth: int  # of PROBABILITIES


class State(NamedTuple):
    """Everything that changes."""

    reg: Ints
    fifo: Ints  # (5, 7)
    ring: Ints  # (6, depth): items of the FIFOs but ADDRESSES
    address_ring: Ints  # (16,)
    buffer: Ints  # (2, BUFFER_FIELDS): K, V
    reissue: Ints  # (2, 16)
    tag: Ints  # (2, lines)
    manager: Ints  # (2, 2, 16): lines of a handle, clock of its release
    handle: Ints  # (request,)
    start: Ints  # (request,): first K line
    value_handle: Ints  # (request,)
    dot: Ints  # (7,): multipliers and adder tree
    maximum: Ints  # (4,): tree of the row maximum
    lane: Ints  # (lane, 16)
    channel: Ints  # (channel, 8)
    ids: Ints  # (channel, 64)
    units: Ints  # (2, 5): clocks of Q.K and Prob.V in each of UNIT_STATES
    events: Ints  # (21, 3): rows of EVENTS
    responses: Ints  # (request,): clock of each response


ADDRESS_POPS, AR, AR_CHANNEL, TO_LOADER = range(4)
LOADER_PUSHED, LOADER_PREVIOUS, LOADER_VISIBLE, LOADER_POPS, LOADER_OLD = range(4, 9)
RESULT_PUSHED, RESULT_PREVIOUS, RESULT_VISIBLE, LANE_LOCK = range(9, 13)
"""Columns of `State.lane`; the result FIFOs are all popped together: RESULT_POPS of lane 0."""
RESULT_POPS, RESULT_OLD = 13, 14

REFUSED, ANSWER, CHANNEL_LOCK, GRANT, ID_PUSHED, ID_POPPED, SENT = range(7)
"""Columns of `State.channel`: a read that the memory refused (address, -1: none), an answer that
waits (0 or 1), lane that the arbiter is locked to, lane granted this clock, ..., the address
accepted from the arbiter this clock."""


QUERY_KEY, PROB_VALUE = range(2)
"""Rows of `State.units`."""

BUSY, WAITS_DATA, WAITS_OTHER, STARTING, IDLE = range(5)
UNIT_STATES = ("busy", "wait for DRAM", "wait for the other side", "RAM initialisation", "idle")
"""Columns of `State.units`. The other side: what follows Q.K; the probabilities of Prob.V."""


def idle_state(sizes: Sizes, requests: int) -> State:
    """Return the machine after reset, everything empty."""

    def zeros(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    reg = np.full(LAST_RESPONSE + 1, -1, np.int64)
    reg[list(_ZERO)] = 0
    reg[list(_ONE)] = 1
    buffer = zeros(2, BUFFER_FIELDS)
    buffer[:, list(_EMPTY_SLOTS)] = -1
    buffer[:, [WRITE_LAST, WRITE_LAST + 1, RESPONSE_LINK, RESPONSE_LINK + 1]] = 1
    lane = zeros(sizes.lanes, 16)
    lane[:, [AR, LANE_LOCK]] = -1
    channel = zeros(sizes.channels, 7)
    channel[:, [REFUSED, CHANNEL_LOCK]] = -1
    return State(
        reg=reg,
        fifo=zeros(5, 7),
        ring=zeros(6, sizes.lines * 16),
        address_ring=zeros(16),
        buffer=buffer,
        reissue=zeros(2, 16),
        tag=np.full((2, sizes.lines), -1, np.int64),
        manager=zeros(2, 2, HANDLES),
        handle=zeros(requests),
        start=zeros(requests),
        value_handle=zeros(requests),
        dot=np.full(7, -1, np.int64),
        maximum=np.full(max(1, sizes.tree_layers), -1, np.int64),
        lane=lane,
        channel=channel,
        ids=zeros(sizes.channels, 64),
        units=zeros(2, len(UNIT_STATES)),
        events=zeros(len(EVENTS), 3),
        responses=zeros(requests),
    )


_ZERO = (
    SOURCE, GROUP, DOT_AT, MAX_AT, ROW_MAX, NEED_COUNT, FINISH_COUNT, VALUE_PART, TOPK_WAIT,
    TOPK_SENT, ON_FLY, VALUE_START, VALUE_HANDLE, VALUE_BATCH, PACKED_BEATS, PACKED_GROUP, FRAGMENT,
    GRANULES, REMAINING, DONE, LAST_RESPONSE,
)  # fmt: skip
"""Registers that start as a count of 0; all others are empty, but for those of `_ONE`."""

_ONE = (
    NEW_LINK0, NEW_LINK1, LINK0, LINK1, LINK2, LINK3, KEY_WRITE_LINK0, KEY_WRITE_LINK1, FIRST_BEAT,
    DECISION_LINK0, DECISION_LINK1, VALUE_LINK0, VALUE_LINK1, VALUE_LINK2, VALUE_LINK3,
    VALUE_WRITE_LINK0, VALUE_WRITE_LINK1, SPLIT_FIRST, FETCH_LAST,
)  # fmt: skip
"""Registers that start at 1: branches of a fork that still want their item, firsts of a row, and
the port after which arbitration starts."""

_EMPTY_SLOTS = (
    DATA, RESPONSE, BANK_RESPONSE, BANK_RESPONSE + 1, BANK_STAGE, BANK_STAGE + 1, ISSUE, GENERATED,
    READ_START, BANK_LOCK, WRITE_DATA, WRITE_DATA + 1, WRITE_START, WRITE_START + 1, SKID, SKID + 1,
    WRITE, WRITE + 1, BANK_WRITE, BANK_WRITE + 1, WRITE_LOCK, WRITE_LOCK + 1,
)  # fmt: skip


@inlined
def note(state: State, event: int, cycle: int) -> None:
    """Record an event's first and last clock, and count it."""
    row = state.events[event]
    if row[COUNT] == 0:
        row[FIRST] = cycle
    row[FINAL] = cycle
    row[COUNT] += 1


@inlined
def start_clock(state: State, lanes: int) -> None:
    """Let items become visible; remember what had been popped."""
    fifo = state.fifo
    for f in range(7):
        fifo[VISIBLE, f] = fifo[PREVIOUS, f]
        fifo[PREVIOUS, f] = fifo[PUSHED, f]
        fifo[OLD_POPS, f] = fifo[POPS, f]
    for k in range(lanes):
        lane = state.lane[k]
        lane[LOADER_VISIBLE] = lane[LOADER_PREVIOUS]
        lane[LOADER_PREVIOUS] = lane[LOADER_PUSHED]
        lane[LOADER_OLD] = lane[LOADER_POPS]
        lane[RESULT_VISIBLE] = lane[RESULT_PREVIOUS]
        lane[RESULT_PREVIOUS] = lane[RESULT_PUSHED]
    state.lane[0, RESULT_OLD] = state.lane[0, RESULT_POPS]


@inlined
def visible(state: State, f: int) -> bool:
    """Say whether a FIFO shows an item."""
    return bool(state.fifo[VISIBLE, f] > state.fifo[POPS, f])


@inlined
def room(state: State, f: int, depth: int) -> bool:
    """Say whether a FIFO takes an item this clock."""
    return bool(state.fifo[PUSHED, f] - state.fifo[OLD_POPS, f] < depth)


@inlined
def push(state: State, f: int, mask: int, item: int) -> None:
    """Append an item; the FIFO has room."""
    state.ring[f, state.fifo[PUSHED, f] & mask] = item
    state.fifo[PUSHED, f] += 1


@inlined
def fetch_item(request: int, group: int, kind: int, last: bool) -> int:
    """Pack a fetch request for one row of the index ROM. Kinds: 0 K, 1 LSBs of K, 2 V."""
    return (request << 20) | (group << 6) | (kind << 4) | (1 if last else 0)
