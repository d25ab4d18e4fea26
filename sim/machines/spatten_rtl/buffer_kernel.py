"""The K and V buffers: bit-plane RAMs with tags, their readers, writers and allocators.

mit-han-lab/spatten: Buffer.scala, BufferManager.scala, MultiBankRAM.scala.
"""

from __future__ import annotations

from sim.machines.spatten_rtl.layout import (
    BANK_LOCK,
    BANK_RESPONSE,
    BANK_STAGE,
    BANK_WRITE,
    BUFFER_READS,
    BUFFER_WRITES,
    DATA,
    E_KEY_WRITE,
    FLAG_IN,
    FLAG_OUT,
    FRESH,
    GENERATED,
    HANDLES,
    HEAD_COMMIT,
    HEAD_ISSUE,
    ISSUE,
    MANAGER_HEAD,
    MANAGER_LINES,
    MANAGER_NEXT,
    MANAGER_READY,
    MANAGER_TAIL,
    NEVER,
    READ_AT,
    READ_LINES,
    READ_START,
    READ_TAG,
    RECYCLE_CYCLES,
    RESPONSE,
    SKID,
    TAIL,
    WRITE,
    WRITE_DATA,
    WRITE_LAST,
    WRITE_LINE,
    WRITE_LOCK,
    WRITE_START,
    WRITE_STEP,
    WRITE_TAG,
    Ints,
    State,
    inlined,
    note,
)


@inlined
def read_buffer(state: State, b: int, ready: bool) -> None:
    """Step the read side of a buffer, but for the consumer of DATA.

    Lines are read in order without knowing whether they are filled: a line whose tag does not
    match is thrown away with all reads behind it, and reading starts again at it.
    """
    buf = state.buffer[b]
    head_commit = buf[HEAD_COMMIT]
    roll_back = False
    item = buf[RESPONSE]
    if item >= 0:
        current = (item & 1) == buf[FLAG_IN]
        matches = (item & 4) != 0
        if not current or not matches:
            buf[RESPONSE] = -1
            if current:
                roll_back = True
                buf[FLAG_IN] = 1 - buf[FLAG_IN]
        elif buf[DATA] < 0:
            buf[DATA] = (item >> 1) & 1
            buf[RESPONSE] = -1
            buf[HEAD_COMMIT] = (head_commit + 1) & 15
    first, second = buf[BANK_RESPONSE], buf[BANK_RESPONSE + 1]
    if first >= 0 or second >= 0:
        chosen = buf[BANK_LOCK]
        if chosen < 0:
            chosen = 0 if first >= 0 else 1
        if buf[RESPONSE] < 0:
            buf[RESPONSE] = buf[BANK_RESPONSE + chosen]
            buf[BANK_RESPONSE + chosen] = -1
            buf[BANK_LOCK] = -1
        else:
            buf[BANK_LOCK] = chosen
    for bank in range(2):
        if buf[BANK_RESPONSE + bank] < 0:
            buf[BANK_RESPONSE + bank] = buf[BANK_STAGE + bank]
            buf[BANK_STAGE + bank] = -1
    item = buf[ISSUE]
    if item >= 0 and ready:
        line = (item >> 2) & 0xFFFF
        bank = line & 1
        if buf[BANK_STAGE + bank] < 0:
            matches = state.tag[b, line] == item >> 18
            buf[BANK_STAGE + bank] = (item & 3) | (4 if matches else 0)
            buf[ISSUE] = -1
            buf[BUFFER_READS + bank] += 1
    head_issue, tail = buf[HEAD_ISSUE], buf[TAIL]
    next_issue = head_issue
    if head_issue != tail and buf[FRESH] == 0 and buf[ISSUE] < 0:
        buf[ISSUE] = state.reissue[b, head_issue] | buf[FLAG_OUT]
        next_issue = (head_issue + 1) & 15
    if roll_back:
        next_issue = head_commit
        buf[FLAG_OUT] = 1 - buf[FLAG_OUT]
    buf[HEAD_ISSUE] = next_issue
    buf[FRESH] = 0
    if buf[GENERATED] >= 0 and ((tail + 1) & 15) != head_commit:
        state.reissue[b, tail] = buf[GENERATED]
        buf[GENERATED] = -1
        buf[TAIL] = (tail + 1) & 15
        if next_issue == tail:
            buf[FRESH] = 1
    if buf[READ_START] >= 0 and buf[GENERATED] < 0:
        at = buf[READ_AT]
        last = at == buf[READ_LINES] - 1
        line = (buf[READ_START] + at) & (state.tag.shape[1] - 1)
        buf[GENERATED] = (buf[READ_TAG] << 18) | (line << 2) | (2 if last else 0)
        buf[READ_AT] = 0 if last else at + 1
        if last:
            buf[READ_START] = -1


@inlined
def write_buffer(state: State, b: int, cycle: int, ready: bool) -> None:
    """Step the write side of a buffer: two ports, two banks."""
    buf = state.buffer[b]
    if ready:
        for bank in range(2):
            item = buf[BANK_WRITE + bank]
            if item >= 0:
                state.tag[b, item & 0xFFFF] = item >> 16
                buf[BANK_WRITE + bank] = -1
                buf[BUFFER_WRITES + bank] += 1
                if b == 0:
                    note(state, E_KEY_WRITE, cycle)
    for bank in range(2):
        wants0 = buf[WRITE] >= 0 and (buf[WRITE] & 1) == bank
        wants1 = buf[WRITE + 1] >= 0 and (buf[WRITE + 1] & 1) == bank
        if wants0 or wants1:
            port = buf[WRITE_LOCK + bank]
            if port < 0:
                port = 0 if wants0 else 1
                if wants0 and wants1:
                    port = 1 - buf[WRITE_LAST + bank]
            buf[WRITE_LAST + bank] = port
            if buf[BANK_WRITE + bank] < 0:
                buf[BANK_WRITE + bank] = buf[WRITE + port]
                buf[WRITE + port] = -2  # just emptied: what follows must not reach the other bank
                buf[WRITE_LOCK + bank] = -1
            else:
                buf[WRITE_LOCK + bank] = port
    for port in range(2):
        if buf[WRITE + port] == -2:
            buf[WRITE + port] = -1
        item = -1
        if buf[SKID + port] < 0 and buf[WRITE_DATA + port] >= 0 and buf[WRITE_START + port] >= 0:
            line = buf[WRITE_START + port] + buf[WRITE_LINE + port]
            item = (buf[WRITE_TAG + port] << 16) | (line & (state.tag.shape[1] - 1))
            buf[WRITE_LINE + port] += buf[WRITE_STEP + port]
            if buf[WRITE_DATA + port] == 1:
                buf[WRITE_LINE + port] = 0
                buf[WRITE_START + port] = -1
            buf[WRITE_DATA + port] = -1
        if buf[WRITE + port] < 0:
            if buf[SKID + port] >= 0:
                buf[WRITE + port] = buf[SKID + port]
                buf[SKID + port] = -1
            else:
                buf[WRITE + port] = item
        elif item >= 0:
            buf[SKID + port] = item


@inlined
def allocatable(buf: Ints, cycle: int, lines: int, capacity: int) -> bool:
    """Say whether a buffer manager has a handle, and room for so many lines."""
    if cycle < MANAGER_READY or buf[MANAGER_TAIL] - buf[MANAGER_HEAD] == HANDLES:
        return False
    return bool(buf[MANAGER_LINES] + lines <= capacity)


@inlined
def allocate(state: State, b: int, lines: int, capacity: int) -> tuple[int, int]:
    """Take lines from the circular buffer; returns the first one and the handle."""
    buf = state.buffer[b]
    handle = buf[MANAGER_TAIL] & (HANDLES - 1)
    start = buf[MANAGER_NEXT]
    state.manager[b, 0, handle] = lines
    state.manager[b, 1, handle] = NEVER
    buf[MANAGER_TAIL] += 1
    buf[MANAGER_LINES] += lines
    buf[MANAGER_NEXT] = (start + lines) & (capacity - 1)
    return start, handle


@inlined
def recycle(state: State, b: int, cycle: int) -> None:
    """Free the oldest handle's lines once it was released."""
    buf = state.buffer[b]
    if buf[MANAGER_TAIL] > buf[MANAGER_HEAD]:
        handle = buf[MANAGER_HEAD] & (HANDLES - 1)
        if state.manager[b, 1, handle] + RECYCLE_CYCLES <= cycle:
            buf[MANAGER_HEAD] += 1
            buf[MANAGER_LINES] -= state.manager[b, 0, handle]
