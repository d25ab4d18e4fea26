"""One run of the released RTL's model: rows in, clocks and counts out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.dram.ramulator2023 import ReleasedDram
from sim.dram.ramulator2023_kernel import LATENCY, Channels, idle_channels
from sim.machines.spatten_rtl import layout
from sim.machines.spatten_rtl.kernel import run
from sim.machines.spatten_rtl.layout import Ints, Sizes, State, idle_state
from sim.machines.spatten_rtl.requests import Rows
from sim.machines.spatten_rtl.rom import index_rom, lane_places
from workloads.errors import InputError

PATIENCE_CYCLES = 1_000_000  # far more than the longest row takes


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    cycles: int  # clock of the last response, reset and RAM initialisation included
    state: State
    memory: Channels

    @property
    def responses(self) -> Ints:
        """(request,): clock of each response."""
        return self.state.responses

    @property
    def dram(self) -> ReleasedDram:
        """The memory, for its counters."""
        return ReleasedDram(self.memory)

    @property
    def sram_accesses(self) -> Ints:
        """(2, 2, 2): K and V; bank; reads and writes of each of its 12 bit-plane RAMs."""
        columns = [[layout.BUFFER_READS + bank, layout.BUFFER_WRITES + bank] for bank in range(2)]
        return self.state.buffer[:, np.array(columns)]

    @property
    def result_fifo_accesses(self) -> Ints:
        """(lane, 2): reads and writes of each response FIFO."""
        lane = self.state.lane
        reads = np.full(len(lane), lane[0, layout.RESULT_POPS])
        return np.stack([reads, lane[:, layout.RESULT_PUSHED]], axis=1)

    @property
    def dram_latency_sum_cycles(self) -> int:
        """Cycles from a read's entering the memory to its data, over all reads."""
        return int(self.memory.counts[:, LATENCY].sum())

    @property
    def unit_cycles(self) -> dict[str, dict[str, int]]:
        """Return how Q.K and Prob.V spent all clocks; before the first one they are in reset."""
        table = {}
        for unit, counts in zip(("Q.K", "Prob.V"), self.state.units.tolist(), strict=True):
            states = dict(zip(layout.UNIT_STATES, counts, strict=True))
            table[unit] = states | {"reset": self.cycles - sum(counts)}
        return table

    @property
    def events(self) -> dict[str, tuple[int, int, int]]:
        """Return the first clock, the last clock and the number of each event."""
        rows = self.state.events.tolist()
        return {name: tuple(row) for name, row in zip(layout.EVENTS, rows, strict=True)}


def run_requests(requests: Ints, sizes: Sizes, rows: Rows) -> Run:
    """Run requests, from reset to the last response.

    Raises:
        InputError: the release hangs on them.
    """
    state = idle_state(sizes, len(requests))
    memory = idle_channels(sizes.channels)
    rom = index_rom(sizes.lines, sizes.lanes, sizes.rows_per_line)
    cycles = run(requests, rom, lane_places(sizes.lanes), sizes, state, memory, PATIENCE_CYCLES)
    if cycles < 0:
        waiting = int(np.argmin(state.responses > 0))
        raise InputError(
            f"{rows.names[waiting]}: the released RTL must answer within {PATIENCE_CYCLES:,} "
            f"cycles, it hangs at cycle {-1 - cycles:,}"
        )
    return Run(cycles, state, memory)
