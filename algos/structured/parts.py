"""Parts of a model to be removed: halves of blocks, heads, and groups of neurons."""

from __future__ import annotations

from typing import NamedTuple

from algos.structured.budget import Masks, Sizes


class Part(NamedTuple):
    """A part of a model: all of one kind in a layer, or some of its units."""

    kind: str  # "attention" or "feed_forward"
    layer: int
    first: int = 0  # unit
    units: int = 0  # 0: the whole


def masks_without(removed: frozenset[Part], sizes: Sizes, layers: int) -> Masks:
    """Return what is left of `layers` blocks."""
    import torch

    masks = Masks(*(torch.ones(layers, n) > 0 for n in (sizes.heads, sizes.neurons)))
    for kind, layer, first, units in removed:
        mask = masks.heads if kind == "attention" else masks.neurons
        mask[layer, first : first + units if units else None] = False
    return masks


def parts_of(sizes: Sizes, layers: int, at_once: int) -> list[Part]:
    """Return halves of blocks, then what these are made of, each from the last on."""
    halves, units = [], []
    for layer in range(layers):
        halves += [Part("attention", layer), Part("feed_forward", layer)]
        units += [Part("attention", layer, head, 1) for head in range(sizes.heads)]
        firsts = range(0, sizes.neurons, at_once)
        units += [Part("feed_forward", layer, x, min(at_once, sizes.neurons - x)) for x in firsts]
    return halves[::-1] + units[::-1]
