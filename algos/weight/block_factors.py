"""A matrix as a 2:4 core between two block-diagonal matrices, fitted by gradients.

Liu et al. 2025, arXiv:2510.05528.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from workloads.packed import KEPT, QUAD

if TYPE_CHECKING:
    from torch import Generator, Tensor

RATE = 1e-4  # of Adam


@dataclass(frozen=True, kw_only=True)
class Factors:
    """A matrix (rows, columns) as A (core) B."""

    left: Tensor  # (row blocks, size, size): A
    core: Tensor  # (rows, columns), 2:4
    right: Tensor  # (column blocks, size, size): B

    @property
    def product(self) -> Tensor:
        """Return A core B."""
        return _tiles_product(self.left, self.core, self.right)


def factorize(
    weight: Tensor,
    squares: Tensor,
    mask: Tensor,
    *,
    block: int,
    steps: int,
    generator: Generator,
) -> Factors:
    """Return the factors of a matrix W that make sum_ij h_j (W - A (C o M) B)_ij^2 small.

    Values follow its gradient; the mask M of the core C is improved group by group.

    Args:
        weight: (rows, columns), columns a multiple of 4.
        squares: (columns,) h, squared norms of the inputs.
        mask: (rows, columns) bool, 2:4: what the core keeps at first.
        block: size of the blocks of A and B; where it does not divide, their common divisor.
        steps: each one step of Adam on all values, then one group of each tile chosen anew.
        generator: draws the groups.
    """
    import torch

    mask = mask.clone()
    sizes = [math.gcd(block, size) for size in weight.shape]
    left, right = (
        torch.eye(n).repeat(size // n, 1, 1).requires_grad_()
        for n, size in zip(sizes, weight.shape, strict=True)
    )
    core = (weight * mask).requires_grad_()
    share = squares / squares.mean().clamp_min(torch.finfo(squares.dtype).tiny)
    adam = torch.optim.Adam([left, core, right], lr=RATE)
    for _ in range(steps):
        with torch.enable_grad():
            miss = weight - _tiles_product(left, core * mask, right)
            loss = (miss.square() * share).sum()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        with torch.no_grad():
            _choose_groups(weight, share, (left, core, right), mask, generator)
    return Factors(left=left.detach(), core=(core * mask).detach(), right=right.detach())


def _tiles_product(left: Tensor, core: Tensor, right: Tensor) -> Tensor:
    rows, columns = core.shape
    middle = (left @ core.view(len(left), -1, columns)).view(rows, len(right), -1)
    return (middle.transpose(0, 1) @ right).transpose(0, 1).reshape(rows, columns)


def _choose_groups(
    weight: Tensor,
    share: Tensor,
    factors: tuple[Tensor, Tensor, Tensor],
    mask: Tensor,
    generator: Generator,
) -> None:
    """Give one group of each tile the best of its 6 patterns, with the values that fit best."""
    import torch

    left, core, right = factors
    a, b = left.shape[1], right.shape[1]
    if b % QUAD:
        return  # a group would lie in two tiles
    down, across = len(left), len(right)
    row = torch.randint(a, (down, across), generator=generator)
    start = torch.randint(b // QUAD, (down, across), generator=generator) * QUAD
    r = torch.arange(down)[:, None].expand_as(row)
    c = torch.arange(across).expand_as(row)
    miss = (weight - _tiles_product(left, core * mask, right)).view(down, a, across, b)
    column = left[r, :, row]  # (down, across, a): what the group's row becomes
    lines = right[c[..., None], start[..., None] + torch.arange(QUAD)]  # (down, across, 4, b)
    at = (r * a + row)[..., None], (c * b + start)[..., None] + torch.arange(QUAD)
    old = core[at] * mask[at]
    scaled = lines * share.view(across, 1, b)
    normal = column.square().sum(-1)[..., None, None] * (scaled @ lines.mT)
    target = torch.einsum("xya,xayb,xygb->xyg", column, miss, scaled)
    target = target + (normal @ old[..., None])[..., 0]
    pairs = torch.tensor(list(combinations(range(QUAD), KEPT)))  # (6, 2)
    small = normal[..., pairs[:, :, None], pairs[:, None, :]]  # (down, across, 6, 2, 2)
    wanted = target[..., pairs]  # (down, across, 6, 2)
    one, both, two = small[..., 0, 0], small[..., 0, 1], small[..., 1, 1]
    scale = (one * two - both.square()).clamp_min(torch.finfo(one.dtype).tiny)[..., None]
    swapped = torch.stack((two, one), -1) * wanted - both[..., None] * wanted.flip(-1)
    values = swapped / scale
    best = (values * wanted).sum(-1).argmax(-1)  # what the loss loses; ties: the first pattern
    chosen = pairs[best]  # (down, across, 2)
    fits = values.gather(2, best[..., None, None].expand(-1, -1, 1, KEPT))[:, :, 0]
    core[at] = torch.zeros_like(old).scatter(-1, chosen, fits)
    mask[at] = torch.zeros_like(old, dtype=torch.bool).scatter(-1, chosen, True)
