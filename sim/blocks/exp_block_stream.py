"""Timing of block-scaled exponentials in hardware, behind streams: block by block, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.exp_block import PRODUCT_CYCLES, ExpBlockConfig
from sim.blocks.handshake import at, next_move

MAXIMUM_CYCLES = 1
"""last key of a block taken to its first one read"""


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
    """Return when everything moves.

    A key passes six points, at each at most one a cycle:

    - taken: when a place of the keys' memory is free, the cycle after another was read;
    - read: `MAXIMUM_CYCLES` after its block's last, when the products' memory has a place, the
      cycle after another was read from it;
    - its product read: `PRODUCT_CYCLES` after its block's last key was read, at the earliest with
      the next point of the one before;
    - cut: a cycle later, at the earliest when the one before leaves this stage;
    - loaded into the output: a cycle later, when the one before is being taken; the last one also
      waits until the block before is being taken;
    - left: when the sink is ready. The block is offered in the cycle after its last one's loading.

    Args:
        config: the unit.
        lengths: (blocks,) keys of each block, 1 to `block`.
        offer, weight_ready, block_ready: of the source and the sinks, by cycle.
    """
    taken: list[int] = []
    read: list[int] = []
    product: list[int] = []
    cut: list[int] = []
    loaded: list[int] = []
    left: list[int] = []
    blocks: list[int] = []
    for length in lengths:
        for _ in range(length):
            place = _after(read, len(taken) - config.key_depth)
            taken.append(next_move(offer, _after(taken), place))
        for _ in range(length):
            place = _after(product, len(read) - config.product_depth)
            read.append(max(taken[-1] + MAXIMUM_CYCLES, _after(read), place))
        for number in range(length):
            last = number == length - 1
            known = read[-1] + PRODUCT_CYCLES
            product.append(max(known, _after(product), cut[-1] if cut else 0))
            cut.append(max(product[-1] + 1, loaded[-1] if loaded else 0))
            free = max(left[-1] if left else 0, blocks[-1] if blocks and last else 0)
            loaded.append(max(cut[-1] + 1, free))
            left.append(_first(weight_ready, loaded[-1] + 1))
        blocks.append(_first(block_ready, loaded[-1] + 1))
    return ExpBlockMoves(taken, left, blocks)


def _after(cycles: Sequence[int], number: int | None = None) -> int:
    """Return the cycle after that of an item, by default the last; 0 for one before the first."""
    number = len(cycles) - 1 if number is None else number
    return cycles[number] + 1 if number >= 0 else 0


def _first(ready: Sequence[bool], cycle: int) -> int:
    """Return the first cycle from one on in which a sink is ready."""
    while not at(ready, cycle):
        cycle += 1
    return cycle
