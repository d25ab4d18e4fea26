"""ARMOR: a 2:4 core between two block-diagonal matrices.

Liu et al., ICLR 2026, arXiv:2510.05528.

A matrix W, normalised by columns, then by rows, becomes A (C o M) B: C dense values, M a 2:4 mask,
A and B block-diagonal. The loss is sum_ij h_j (W - A (C o M) B)_ij^2, h_j the squared norm of
input j. Values follow its gradient; the mask is improved group by group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, ModelView, Need, PrunedWeight
from algos.weight.base import WeightMethod, WeightPlan
from algos.weight.pattern import check_score, keep_largest

if TYPE_CHECKING:
    from torch import Generator, Tensor

EPSILON = 1e-5  # added to norms
RATE = 1e-4  # of Adam
GROUP, KEPT = 4, 2


def normalized(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return W / |column| / |row|, the norms of columns and then those of rows."""
    columns = weight.norm(dim=0) + EPSILON
    found = weight / columns
    rows = found.norm(dim=1) + EPSILON
    return found / rows[:, None], columns, rows


def first_mask(weight: Tensor, squares: Tensor) -> Tensor:
    """Return the 2:4 mask of normalised weights by w^2 times the squared norm of the input."""
    return keep_largest(weight.square() * squares, KEPT, GROUP)


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
    weight: Tensor, squares: Tensor, *, block: int, steps: int, generator: Generator
) -> Factors:
    """Return the factors of a normalised matrix.

    Args:
        weight: (rows, columns), columns a multiple of 4.
        squares: (columns,) squared norms of the inputs.
        block: size of the blocks of A and B; where it does not divide, their common divisor.
        steps: each one step of Adam on all values, then one group of each tile chosen anew.
        generator: draws the groups.
    """
    import torch

    mask = first_mask(weight, squares)
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
    if b % GROUP:
        return  # a group would lie in two tiles
    down, across = len(left), len(right)
    row = torch.randint(a, (down, across), generator=generator)
    start = torch.randint(b // GROUP, (down, across), generator=generator) * GROUP
    r = torch.arange(down)[:, None].expand_as(row)
    c = torch.arange(across).expand_as(row)
    miss = (weight - _tiles_product(left, core * mask, right)).view(down, a, across, b)
    column = left[r, :, row]  # (down, across, a): what the group's row becomes
    lines = right[c[..., None], start[..., None] + torch.arange(GROUP)]  # (down, across, 4, b)
    at = (r * a + row)[..., None], (c * b + start)[..., None] + torch.arange(GROUP)
    old = core[at] * mask[at]
    scaled = lines * share.view(across, 1, b)
    normal = column.square().sum(-1)[..., None, None] * (scaled @ lines.mT)
    target = torch.einsum("xya,xayb,xygb->xyg", column, miss, scaled)
    target = target + (normal @ old[..., None])[..., 0]
    pairs = torch.tensor(list(combinations(range(GROUP), KEPT)))  # (6, 2)
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


class Armor(WeightMethod):
    """Replaces each matrix by a 2:4 core between two small block-diagonal matrices.

    Blocks of the model are treated in order, with inputs after the blocks before. The authors take
    3000 steps, here 100 by default; how they choose groups in detail is from a description. The
    wrappers come on top of the budget: 2 x `block` weights for each output and input.
    """

    name: ClassVar[str] = "armor"
    signal: ClassVar[str] = "squared normalised weight times squared norm of its input"
    paper: ClassVar[str] = "Liu et al., ICLR 2026, arXiv:2510.05528"
    granularity: ClassVar[str] = "N:M weights"
    trace_kind: ClassVar[str] = "weights, N:M"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    keep_ratio: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    """Share kept of the core: 2 of 4."""
    block: Annotated[int, Field(ge=1, le=1024)] = 32
    """Size of a block of the wrappers; where it does not divide a side, their common divisor."""
    steps: Annotated[int, Field(ge=0)] = 100
    """Steps of Adam, each with one group of every tile chosen anew."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Pass the generator on."""
        return WeightPlan(generator=model.generator)

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Return the product of the factors, and the core that hardware stores."""
        weight, columns, rows = normalized(linear.weight)
        squares = linear.input_squares
        check_score(weight.square() * squares, linear.where)
        assert plan.generator is not None
        found = factorize(
            weight, squares, block=self.block, steps=self.steps, generator=plan.generator
        )
        return PrunedWeight(
            weight=found.product * rows[:, None] * columns,
            pattern="n:m",
            n=KEPT,
            m=GROUP,
            core=found.core,
            wrappers=(found.left.shape[1], found.right.shape[1]),
        )
