"""Timing of block-scaled exponentials in hardware, behind streams: block by block, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.exp_block import PRODUCT_CYCLES, ExpBlockConfig
from sim.blocks.handshake import at

MAXIMUM_CYCLES = 1
"""last key of a block taken to its first one read"""


class ExpBlockTimes:
    """Cycles in which the keys of blocks pass the unit, as far as they are known.

    A key passes six points, at each at most one a cycle:

    - taken: when a place of the keys' memory is free, the cycle after another was read;
    - read: `MAXIMUM_CYCLES` after its block's last was taken, when the products' memory has a
      place, the cycle after another was read from it;
    - its product read: `PRODUCT_CYCLES` after its block's last key was read, at the earliest when
      the one before is cut;
    - cut: a cycle later, at the earliest when the one before is loaded;
    - loaded into the output: a cycle later, when the one before is being taken; a block's last one
      also waits until the block before is being taken;
    - left: as the sink decides, from the cycle after on. The block is offered from then on, too.

    Attributes: `taken`, `left`: cycles by key; `blocks`: cycles by block.
    """

    def __init__(self, config: ExpBlockConfig) -> None:
        self._config = config
        self.taken: list[int] = []
        self.left: list[int] = []
        self.blocks: list[int] = []
        self._read: list[int] = []
        self._product: list[int] = []
        self._cut: list[int] = []
        self._loaded: list[int] = []
        self._ends: list[int] = []  # numbers of blocks' last keys
        self._block_of: list[int] = []

    def ready(self, cycle: int) -> bool:
        """Tell whether a key is taken that is offered in a cycle."""
        place = len(self.taken) - self._config.key_depth
        return place < 0 or (place < len(self._read) and self._read[place] < cycle)

    def take(self, cycle: int, last: bool) -> None:
        """Note that a key is taken; `last` of its block."""
        self._block_of.append(len(self._ends))
        self.taken.append(cycle)
        if last:
            self._ends.append(len(self.taken) - 1)
        self._pass()

    def offers(self, cycle: int) -> bool:
        """Tell whether a weight is offered in a cycle."""
        number = len(self.left)
        return number < len(self._loaded) and self._loaded[number] < cycle

    def leave(self, cycle: int) -> None:
        """Note that the weight offered is taken."""
        self.left.append(cycle)
        self._pass()

    def offers_block(self, cycle: int) -> bool:
        """Tell whether a block is offered in a cycle."""
        number = len(self.blocks)
        if number >= len(self._ends) or self._ends[number] >= len(self._loaded):
            return False
        return self._loaded[self._ends[number]] < cycle

    def leave_block(self, cycle: int) -> None:
        """Note that the block offered is taken."""
        self.blocks.append(cycle)
        self._pass()

    def _pass(self) -> None:
        """Work out what is known now."""
        while self._passes_read() or self._passes_product() or self._passes_load():
            pass

    def _passes_read(self) -> bool:
        number = len(self._read)
        place = number - self._config.product_depth
        if not self._ended(number) or place >= len(self._product):
            return False
        known = self.taken[self._ends[self._block_of[number]]] + MAXIMUM_CYCLES
        self._read.append(max(known, _after(self._read), _after(self._product, place)))
        return True

    def _passes_product(self) -> bool:
        number = len(self._product)
        if not self._ended(number) or self._ends[self._block_of[number]] >= len(self._read):
            return False
        if number > len(self._cut):
            return False
        known = self._read[self._ends[self._block_of[number]]] + PRODUCT_CYCLES
        before = self._cut[-1] if self._cut else 0
        self._product.append(max(known, _after(self._product), before))
        return True

    def _passes_load(self) -> bool:
        number = len(self._cut)
        if number < len(self._product) and number <= len(self._loaded):
            before = self._loaded[-1] if self._loaded else 0
            self._cut.append(max(self._product[number] + 1, before))
            return True
        number = len(self._loaded)
        if number >= len(self._cut) or number > len(self.left):
            return False
        block = self._block_of[number]
        last = self._ends[block] == number
        if last and block > len(self.blocks):
            return False
        free = max(
            self.left[-1] if self.left else 0, self.blocks[block - 1] if last and block else 0
        )
        self._loaded.append(max(self._cut[number] + 1, free))
        return True

    def _ended(self, number: int) -> bool:
        return number < len(self.taken) and self._block_of[number] < len(self._ends)


class ExpBlockMoves(NamedTuple):
    """Cycles in which keys entered, and weights and blocks left."""

    keys: list[int]
    weights: list[int]
    blocks: list[int]


def exp_block_latency(n: int) -> int:
    """Return the cycles from the last of a block's n keys to its first weight, without stalls."""
    return MAXIMUM_CYCLES + (n - 1) + PRODUCT_CYCLES + 3


def exp_block_moves(
    config: ExpBlockConfig,
    lengths: Sequence[int],
    offer: Sequence[bool],
    weight_ready: Sequence[bool],
    block_ready: Sequence[bool],
) -> ExpBlockMoves:
    """Return when everything moves: see `ExpBlockTimes`.

    Args:
        config: the unit.
        lengths: (blocks,) keys of each block, 1 to `block`.
        offer, weight_ready, block_ready: of the source and the sinks, by cycle.
    """
    lasts = [number == length - 1 for length in lengths for number in range(length)]
    times = ExpBlockTimes(config)
    offering, cycle = False, 0
    while len(times.left) < len(lasts) or len(times.blocks) < len(lengths):
        offering = offering or (len(times.taken) < len(lasts) and at(offer, cycle))
        takes = offering and times.ready(cycle)
        leaves = times.offers(cycle) and at(weight_ready, cycle)
        block_leaves = times.offers_block(cycle) and at(block_ready, cycle)
        if takes:
            times.take(cycle, lasts[len(times.taken)])
            offering = False
        if leaves:
            times.leave(cycle)
        if block_leaves:
            times.leave_block(cycle)
        cycle += 1
    return ExpBlockMoves(times.taken, times.left, times.blocks)


def _after(cycles: Sequence[int], number: int | None = None) -> int:
    """Return the cycle after that of an item, by default the last; 0 for one before the first."""
    number = len(cycles) - 1 if number is None else number
    return cycles[number] + 1 if number >= 0 else 0
