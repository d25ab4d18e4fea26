"""A DRAM that answers when reads complete."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.dram import kernel
from sim.dram.spec import FIELDS, DramSpec

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counters:
    """What a device did so far, one count per channel."""

    requests: Ints  # reads served
    row_hits: Ints  # found their row open
    row_misses: Ints  # found their bank closed
    row_conflicts: Ints  # found another row open
    activates: Ints  # rows opened
    refreshes: Ints  # all-bank refreshes, one per pseudo-channel
    bytes: Ints  # data moved


class Dram:
    """A DRAM with open rows, FR-FCFS scheduling and all-bank refresh.

    Each channel has a row and a column command bus, one command a clock each. A column clock
    reads the oldest request whose row was opened for it, else the oldest row hit; a row clock
    activates or precharges for the oldest request that may, except that a row opened for a
    request stays until it is read. At most `queue_depth` requests of a channel wait for their
    first command. A refresh stops the queue and takes the pseudo-channels one after another.

    Approximation: calls are one fetcher's, in order, and within a channel no command of a call is
    issued before the last of the same bus of the call before. Rows of the new call are opened
    while data of the old still flows, but requests of different calls are not reordered.
    """

    def __init__(self, spec: DramSpec) -> None:
        self.spec = spec
        self._arrival = 0
        self._requests = np.zeros(spec.channels, np.int64)
        self._parts, self._xor = _mapping_tables(spec)
        self._sizes = np.array([spec.count(field) for field in FIELDS], np.int64)
        self._timing = _timing(spec)
        self._state = _initial_state(spec)

    def read(self, addresses: ArrayLike, arrival_cycle: int) -> Ints:
        """Return the clock at which each read's data is complete.

        Args:
            addresses: (request,) transaction numbers, byte address / `transaction_bytes`. They
                arrive together, in this order.
            arrival_cycle: clock of arrival; calls come in nondecreasing order of it.

        Raises:
            ValueError: an address outside the device, or an arrival before the last call's.
        """
        requests = np.ascontiguousarray(addresses, np.int64)
        self._advance(arrival_cycle)
        if requests.size and (requests.min() < 0 or requests.max() >= self.spec.transactions):
            raise ValueError(
                f"DRAM addresses must be in 0..{self.spec.transactions - 1}, "
                f"not {requests.min()}..{requests.max()}"
            )
        if self.spec.ideal:
            return self._complete_at_once(requests)
        return self._serve(requests, until=0)

    def finish(self, cycle: int) -> None:
        """Let the device idle up to a clock, so that its refreshes until then are counted."""
        self._advance(cycle)
        if self.spec.refresh and not self.spec.ideal:
            self._serve(np.empty(0, np.int64), until=cycle)

    @property
    def counters(self) -> Counters:
        """What the device did so far."""
        counts = self._state.counters
        hits = counts[:, kernel.HITS] + self._requests
        misses, conflicts = counts[:, kernel.MISSES], counts[:, kernel.CONFLICTS]
        requests = hits + misses + conflicts
        return Counters(
            requests=requests,
            row_hits=hits,
            row_misses=misses.copy(),
            row_conflicts=conflicts.copy(),
            activates=counts[:, kernel.ACTIVATES].copy(),
            refreshes=counts[:, kernel.REFRESHES].copy(),
            bytes=requests * self.spec.transaction_bytes,
        )

    def _advance(self, cycle: int) -> None:
        if cycle < self._arrival:
            raise ValueError(f"DRAM arrival must be at least {self._arrival}, not {cycle}")
        self._arrival = int(cycle)

    def _serve(self, requests: Ints, until: int) -> Ints:
        done: Ints = kernel.serve(
            requests,
            self._arrival,
            int(until),
            self._parts,
            self._xor,
            self._sizes,
            self._timing,
            self._state,
        )
        return done

    def _complete_at_once(self, requests: Ints) -> Ints:
        places = [np.empty(requests.size, np.int64) for _ in range(3)]
        kernel.locate(requests, self._parts, self._xor, self._sizes, *places)
        self._requests += np.bincount(places[0], minlength=self.spec.channels)
        return np.full(requests.size, self._arrival, np.int64)


def _mapping_tables(spec: DramSpec) -> tuple[Ints, Ints]:
    """Return the mapping as `kernel.locate` takes it."""
    parts, low, used = [], 0, dict.fromkeys(FIELDS, 0)
    for field, bits in spec.mapping:
        parts.append((FIELDS.index(field), low, bits, used[field]))
        low += bits
        used[field] += bits
    xor, column_bit = [], 0
    for field in spec.xor:
        xor.append((FIELDS.index(field), column_bit))
        column_bit += used[field]
    return np.array(parts, np.int64), np.array(xor, np.int64).reshape(-1, 2)


def _timing(spec: DramSpec) -> kernel.Timing:
    """Return the distances between commands, counted from the first clock of each."""
    rest = spec.act_cycles - 1  # ACT counts from its last clock
    return kernel.Timing(
        act_to_read=spec.n_rcd + rest,
        act_to_pre=spec.n_ras + rest,
        act_to_act=spec.n_rc,
        act_to_refresh=spec.n_rc + rest,
        act_to_act_pseudo=spec.n_rrd_s,
        act_to_act_group=spec.n_rrd_l,
        four_act=spec.n_faw,
        act_cycles=spec.act_cycles,
        pre_to_act=spec.n_rp - rest,
        pre_to_refresh=spec.n_rp,
        read_to_pre=spec.n_rtp,
        read_to_read_pseudo=max(spec.n_ccd_s, spec.n_bl),
        read_to_read_group=spec.n_ccd_l,
        read_to_data=spec.read_latency_cycles,
        refresh_to_act=spec.n_rfc - rest,
        refresh_interval=spec.n_refi,
        queue_cycles=spec.queue_cycles,
        queue_depth=spec.queue_depth,
        pseudo_channels=spec.pseudo_channels,
        bank_bits=spec.banks.bit_length() - 1,
        pseudo_bits=(spec.banks * spec.bank_groups).bit_length() - 1,
    )


def _initial_state(spec: DramSpec) -> kernel.State:
    """Return a device at clock 0: banks closed, nothing pending."""
    groups = spec.pseudo_channels * spec.bank_groups
    state = kernel.State(
        bank=np.zeros((spec.channels, 4, spec.banks_per_channel), np.int64),
        group=np.zeros((spec.channels, 3, groups), np.int64),
        pseudo=np.zeros((spec.channels, 9, spec.pseudo_channels), np.int64),
        channel=np.zeros((spec.channels, 5), np.int64),
        left_at=np.full((spec.channels, spec.queue_depth), -1, np.int64),
        counters=np.zeros((spec.channels, 5), np.int64),
    )
    state.bank[:, kernel.ROW] = kernel.CLOSED
    state.pseudo[:, kernel.FAW :] = -spec.n_faw
    state.channel[:, kernel.REFRESH_DUE] = spec.n_refi if spec.refresh else kernel.NEVER
    return state
