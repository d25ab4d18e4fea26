"""A DRAM that answers when reads complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.dram import channel_kernel, kernel
from sim.dram.channel_kernel import State, Timing
from sim.dram.spec import FIELDS, AddressField, DramSpec

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counters:
    """What a device did so far, one count per channel."""

    requests: Ints  # reads served
    row_hits: Ints  # found their row open
    row_misses: Ints  # found their bank closed
    row_conflicts: Ints  # found another row open
    activates: Ints  # rows opened
    refreshes: Ints  # all-bank refreshes, one per rank or pseudo-channel
    bytes: Ints  # data moved


class Served(NamedTuple):
    """Clocks of some requests of a stream, in the stream's order."""

    accepted: Ints  # (request,): it entered the queue of its channel
    done: Ints  # (request,): its data is complete


class Dram:
    """A DRAM with open rows, FR-FCFS scheduling and all-bank refresh.

    Each channel has a row and a column command bus (HBM2) or a single one (DDR4), one command a
    clock each. A column clock reads the oldest request whose row was opened for it, else the oldest
    row hit; a row clock activates or precharges for the oldest request that may, except that a row
    opened for a request stays until it is read. A single bus reads for opened rows first, else
    issues what the oldest request needs next that may be issued. At most `queue_depth` requests of
    a channel wait for their first command. A refresh stops the queue and takes the ranks or
    pseudo-channels one after another.

    `read` takes requests that arrive together, `stream` a source that sends them in order.

    Approximation: calls are one fetcher's, in order, and within a channel no command of a call is
    issued before the last of the same bus of the call before. Rows of the new call are opened
    while data of the old still flows, but requests of different calls are not reordered.
    """

    def __init__(self, spec: DramSpec) -> None:
        self.spec = spec
        self._arrival = 0
        self._streams = False
        self._requests = np.zeros(spec.channels, np.int64)
        self._mapping = _mapping(spec)
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
        requests = self._checked(addresses)
        self._advance(arrival_cycle)
        if self.spec.ideal:
            return self._complete_at_once(requests)
        return self._serve(requests, until=0)

    def stream(
        self,
        addresses: ArrayLike,
        sends_per_cycle: int | None = None,
        outstanding: int | None = None,
        arrival_cycle: int | None = None,
    ) -> Served:
        """Send reads in order, each as soon as the queue of its channel has room for it.

        A request that finds its queue full holds up all that follow, whatever their channels.

        Args:
            addresses: (request,) transaction numbers.
            sends_per_cycle: requests sent in a clock at most; None: as many as the queues take.
            outstanding: reads sent and not complete at most; None: no limit.
            arrival_cycle: clock of the first; default: that of the last call's arrival.

        Raises:
            ValueError: as `read`, or a limit below 1.
        """
        served = [*self.stream_chunks([addresses], sends_per_cycle, outstanding, arrival_cycle)]
        return Served(*(np.concatenate(part) for part in zip(*served, strict=True)))

    def stream_chunks(
        self,
        chunks: Iterable[ArrayLike],
        sends_per_cycle: int | None = None,
        outstanding: int | None = None,
        arrival_cycle: int | None = None,
    ) -> Iterator[Served]:
        """Send a stream that comes in chunks; the same clocks as `stream`, in bounded memory.

        Yields the clocks of the requests in order, as far as they are known, and of the rest at
        the end. The device serves nothing else until then.
        """
        for name, limit in (("sends_per_cycle", sends_per_cycle), ("outstanding", outstanding)):
            if limit is not None and limit < 1:
                raise ValueError(f"DRAM stream {name} must be at least 1, not {limit}")
        self._advance(self._arrival if arrival_cycle is None else arrival_cycle)
        return self._send(iter(chunks), sends_per_cycle, outstanding)

    def finish(self, cycle: int) -> None:
        """Let the device idle up to a clock, so that its refreshes until then are counted."""
        self._advance(cycle)
        if self.spec.refresh and not self.spec.ideal:
            self._serve(np.empty(0, np.int64), until=cycle)

    @property
    def counters(self) -> Counters:
        """What the device did so far."""
        counts = self._state.counters
        hits = counts[:, channel_kernel.HITS] + self._requests
        misses, conflicts = counts[:, channel_kernel.MISSES], counts[:, channel_kernel.CONFLICTS]
        requests = hits + misses + conflicts
        return Counters(
            requests=requests,
            row_hits=hits,
            row_misses=misses.copy(),
            row_conflicts=conflicts.copy(),
            activates=counts[:, channel_kernel.ACTIVATES].copy(),
            refreshes=counts[:, channel_kernel.REFRESHES].copy(),
            bytes=requests * self.spec.transaction_bytes,
        )

    def _checked(self, addresses: ArrayLike) -> Ints:
        requests = np.ascontiguousarray(addresses, np.int64)
        if requests.size and (requests.min() < 0 or requests.max() >= self.spec.transactions):
            raise ValueError(
                f"DRAM addresses must be in 0..{self.spec.transactions - 1}, "
                f"not {requests.min()}..{requests.max()}"
            )
        return requests

    def _advance(self, cycle: int) -> None:
        if self._streams:
            raise ValueError("a DRAM stream must be read to its end before another call")
        if cycle < self._arrival:
            raise ValueError(f"DRAM arrival must be at least {self._arrival}, not {cycle}")
        self._arrival = int(cycle)

    def _serve(self, requests: Ints, until: int) -> Ints:
        done = np.empty(requests.size, np.int64)
        kernel.serve(
            requests,
            self._arrival,
            int(until),
            self._mapping,
            self._timing,
            self._state,
            np.empty(requests.size, np.int64),
            np.zeros(self.spec.channels + 1, np.int64),
            done,
        )
        return done

    def _send(
        self, chunks: Iterator[ArrayLike], sends_per_cycle: int | None, outstanding: int | None
    ) -> Iterator[Served]:
        """Yield what is known after each chunk; a window holds the requests not yet yielded."""
        sender = self._sender(sends_per_cycle, outstanding)
        window = np.empty((3, 0), np.int64)  # addresses, accepted, done
        chunk = next(chunks, None)
        while chunk is not None:
            requests, chunk = self._checked(chunk), next(chunks, None)
            added = np.full((3, requests.size), channel_kernel.NEVER)
            added[0] = requests
            window = np.concatenate((window, added), axis=1)
            self._streams = chunk is not None
            self._send_window(sender, window, is_last=chunk is None)
            late = np.flatnonzero(window[2] == channel_kernel.NEVER)
            known = int(late[0]) if late.size else window.shape[1]
            yield Served(window[1, :known], window[2, :known])
            window = window[:, known:]
            sender.front[kernel.HEAD] -= known
            self._state.waiting[:, channel_kernel.REQUEST] -= known
            self._state.opened[:, channel_kernel.REQUEST] -= known

    def _sender(self, sends_per_cycle: int | None, outstanding: int | None) -> kernel.Sender:
        front = np.zeros(6, np.int64)
        front[kernel.NOW] = channel_kernel.NEVER
        wakes = np.zeros(self.spec.channels, np.int64)
        done_at = np.zeros(outstanding or 0, np.int64)
        return kernel.Sender(front, wakes, done_at, sends_per_cycle or channel_kernel.NEVER)

    def _send_window(self, sender: kernel.Sender, window: Ints, is_last: bool) -> None:
        addresses, accepted, done = window
        if self.spec.ideal:
            self._complete_at_once(addresses)
            accepted[:] = done[:] = self._arrival
            return
        kernel.stream(
            addresses,
            self._arrival,
            is_last,
            sender,
            self._mapping,
            self._timing,
            self._state,
            accepted,
            done,
        )
        if addresses.size:
            self._arrival = int(accepted[-1])

    def _complete_at_once(self, requests: Ints) -> Ints:
        places = np.empty((4, requests.size), np.int64)
        kernel.locate_all(requests, self._mapping, places)
        self._requests += np.bincount(places[kernel.CHANNEL], minlength=self.spec.channels)
        return np.full(requests.size, self._arrival, np.int64)


def _mapping(spec: DramSpec) -> kernel.Mapping:
    """Return the mapping as `kernel.locate` takes it."""
    bits = {field: spec.count(field).bit_length() - 1 for field in FIELDS}
    bank_low = bits["bank"]
    rank_low = bank_low + bits["bank_group"]
    entry: dict[AddressField, tuple[int, int]] = {  # entry of place, lowest bit in it
        "channel": (kernel.CHANNEL, 0),
        "pseudo_channel": (kernel.BANK, rank_low + bits["rank"]),
        "rank": (kernel.BANK, rank_low),
        "bank_group": (kernel.BANK, bank_low),
        "bank": (kernel.BANK, 0),
        "column": (kernel.COLUMN, 0),
        "row": (kernel.ROW, 0),
    }
    parts, low, used = [], 0, dict.fromkeys(FIELDS, 0)
    for field, width in spec.mapping:
        where, shift = entry[field]
        parts.append((where, low, (1 << width) - 1, shift + used[field]))
        low += width
        used[field] += width
    xor, column_bit = [], 0
    for field in spec.xor:
        where, shift = entry[field]
        xor.append((where, column_bit, spec.count(field) - 1, shift))
        column_bit += bits[field]
    return kernel.Mapping(
        np.array(parts, np.int64).reshape(-1, 4),
        np.array(xor, np.int64).reshape(-1, 4),
        np.zeros(4, np.int64),
    )


def _timing(spec: DramSpec) -> Timing:
    """Return the distances between commands, counted from the first clock of each."""
    rest = spec.act_cycles - 1  # ACT counts from its last clock
    return Timing(
        act_to_read=spec.n_rcd + rest,
        act_to_pre=spec.n_ras + rest,
        act_to_act=spec.n_rc,
        act_to_refresh=spec.n_rc + rest,
        act_to_act_rank=spec.n_rrd_s,
        act_to_act_group=spec.n_rrd_l,
        four_act=spec.n_faw,
        act_cycles=spec.act_cycles,
        pre_to_act=spec.n_rp - rest,
        pre_to_refresh=spec.n_rp,
        read_to_pre=spec.n_rtp,
        read_to_read_rank=max(spec.n_ccd_s, spec.n_bl),
        read_to_read_group=spec.n_ccd_l,
        read_to_read_other_rank=spec.n_bl + spec.n_cs if spec.ranks > 1 else 0,
        read_to_data=spec.read_latency_cycles,
        refresh_to_act=spec.n_rfc - rest,
        refresh_interval=spec.n_refi,
        queue_cycles=spec.queue_cycles,
        queue_depth=spec.queue_depth,
        ranks=spec.pseudo_channels * spec.ranks,
        bank_bits=spec.banks.bit_length() - 1,
        rank_bits=(spec.banks * spec.bank_groups).bit_length() - 1,
        command_buses=spec.command_buses,
    )


def _initial_state(spec: DramSpec) -> State:
    """Return a device at clock 0: banks closed, nothing pending."""
    channels, depth, banks = spec.channels, spec.queue_depth, spec.banks_per_channel
    ranks = spec.pseudo_channels * spec.ranks
    state = State(
        bank=np.zeros((channels, 5, banks), np.int64),
        group=np.zeros((channels, 4, ranks * spec.bank_groups), np.int64),
        rank=np.zeros((channels, 10, ranks), np.int64),
        channel=np.zeros((channels, 9), np.int64),
        waiting=np.zeros((channels, 5, depth), np.int64),
        opened=np.zeros((channels, 3, banks), np.int64),
        left_at=np.full((channels, depth), -1, np.int64),
        counters=np.zeros((channels, 5), np.int64),
    )
    state.bank[:, channel_kernel.ROW] = channel_kernel.CLOSED
    state.rank[:, channel_kernel.FAW :] = -spec.n_faw
    due = spec.n_refi if spec.refresh else channel_kernel.NEVER
    state.channel[:, channel_kernel.REFRESH_DUE] = due
    return state
