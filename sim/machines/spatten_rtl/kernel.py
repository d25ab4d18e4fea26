"""The released RTL, clock by clock: stages are stepped from the last to the first.

A register that empties can so be filled in the same clock, as its ready signal allows.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from numba import njit

from sim.dram import ramulator2023_kernel
from sim.dram.ramulator2023_kernel import Channels
from sim.machines.spatten_rtl.buffer_kernel import read_buffer, recycle, write_buffer
from sim.machines.spatten_rtl.fetch_kernel import (
    clock_memory,
    collect,
    receive,
    send,
    split_requests,
)
from sim.machines.spatten_rtl.layout import (
    DONE,
    LAST_RESPONSE,
    RESET_CYCLES,
    Ints,
    Sizes,
    State,
    start_clock,
)
from sim.machines.spatten_rtl.score_kernel import admit, decide, fork_request, multiply, rebatch
from sim.machines.spatten_rtl.value_kernel import fork_values, join, select

_OPTIONS: Any = {"_nrt": False}
"""No counting of references to the arrays of `State`: it takes six sevenths of the time."""


def _compile(sources: int) -> Any:
    """Compile `run`; numba's cache notices a change in this file only, so the key holds all."""

    @njit(cache=True, **_OPTIONS)
    def run(
        requests: Ints,
        rom: Ints,
        places: Ints,
        sizes: Sizes,
        state: State,
        memory: Channels,
        patience: int,
    ) -> int:
        assert sources != 0  # a closure variable is part of the cache's key
        reg = state.reg
        ram_ready = RESET_CYCLES + sizes.lines // 2
        cycle = RESET_CYCLES
        while reg[DONE] < requests.shape[0] or cycle < reg[LAST_RESPONSE]:
            ready = cycle >= ram_ready
            start_clock(state, sizes.lanes)
            join(state, sizes, cycle, ready)
            read_buffer(state, 1, ready)
            write_buffer(state, 1, cycle, ready)
            split_requests(state, requests, sizes, cycle)
            fork_values(state, requests, sizes)
            select(state, requests, sizes, cycle)
            rebatch(state, requests, cycle)
            again = decide(state, requests, sizes, cycle)
            multiply(state, sizes, cycle, ready)
            read_buffer(state, 0, ready)
            write_buffer(state, 0, cycle, ready)
            collect(state, requests, sizes, cycle)
            fork_request(state, requests, sizes)
            admit(state, requests, sizes, cycle, again)
            receive(state, sizes)
            send(state, requests, rom, places, sizes, cycle)
            clock_memory(state, memory, sizes)
            recycle(state, 0, cycle)
            recycle(state, 1, cycle)
            if cycle - reg[LAST_RESPONSE] > patience:
                return -1 - cycle
            cycle += 1
        return int(reg[LAST_RESPONSE])

    return run


def _sources() -> int:
    files = [*Path(__file__).parent.glob("*.py"), Path(ramulator2023_kernel.__file__)]
    return zlib.crc32(b"".join(file.read_bytes() for file in sorted(files))) | 1


run = _compile(_sources())
"""Run all requests; returns the clock of the last response, or -1 - clock where it hangs.

Args:
    requests: (request, 26), columns of `layout`.
    rom: (2, line, lane): row numbers that the index ROM gives to K, and to V.
    places: (3, 3, lane): row * 8 + transaction of a lane, by transactions of a row - 1 and by
        fragment.
    sizes: of the machine.
    state: from `idle_state`; its counts and clocks are the result.
    memory: from `idle_channels`.
    patience: clocks without a response after which the machine hangs.
"""
