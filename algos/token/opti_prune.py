"""OptiPrune: a few base tokens of each patch are computed, the others copy them.

Made for diffusion, it acts on any grid of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Batch, Decision, Parity, Ratio, WorkloadKind
from algos.selection import best_first, keep_count, rows_of
from algos.token.base import Between, TokenMethod
from algos.token.shared import cosine, random_scores, top_ordinals
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass
class CopyState:
    """What one batch remembers."""

    generators: tuple[Generator, ...]
    patch: Tensor  # (token,) of each token of the grid; class tokens have none
    copies: Tensor | None = None  # (batch, token, token): how pruned tokens come back


class OptiPrune(TokenMethod):
    """Compute only base tokens, most like the rest of their patch; the others then copy them.

    From the description: in each layer every patch of the grid names a base token by its mean
    cosine with the patch plus noise; pruned tokens skip the block, and before the next attention
    become the base token that was most like them. The patch's size and the noise are estimates;
    the optimisation of the first noise image is a diffusion model's and is not here.
    """

    name: ClassVar[str] = "opti-prune"
    signal: ClassVar[str] = "similarity inside a patch, with noise"
    paper: ClassVar[str] = "OptiPrune"
    granularity: ClassVar[str] = "token"
    trace_kind: ClassVar[str] = "merge map"
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("images",)

    keep_ratio: Ratio = 0.5
    """Tokens of the grid that each block computes, rounded down, at least 1."""
    patch: Annotated[int, Field(ge=1)] = 2
    """Rows and columns of a patch."""
    noise: Annotated[float, Field(ge=0)] = 0.1
    """Largest random number added to a token's mean cosine."""

    def begin(self, batch: Batch) -> CopyState:
        """Return a state without copies.

        Raises:
            InputError: the tokens are no grid.
        """
        grid, n = batch.layout.grid, batch.tokens - int(batch.layout.class_token)
        if grid is None or grid[0] * grid[1] != n:
            raise InputError(f"{self.name} must have a grid of {n} tokens, not {grid}")
        return CopyState(batch.generators, patches(grid, self.patch))

    def between(self, entry: Between, state: CopyState) -> Decision:
        """Let pruned tokens come back as copies, then choose the tokens that skip the block."""
        import torch

        merge = state.copies
        hidden = entry.hidden if merge is None else merge @ entry.hidden
        size, tokens, n = *hidden.shape[:2], len(state.patch)
        if not n:
            return Decision()
        x = hidden[:, -n:]
        noise = self.noise * random_scores(state.generators, n)
        base = top_ordinals(base_scores(x, state.patch, noise), keep_count(self.keep_ratio, n))
        state.copies = torch.eye(tokens).repeat(size, 1, 1)
        state.copies[:, -n:, -n:] = copy_matrix(x, base)
        bypass = state.copies.diagonal(dim1=1, dim2=2) == 0
        kept = None if merge is None else torch.arange(tokens).expand(size, -1)
        return Decision(kept_tokens=kept, merge=merge, bypass=bypass)


def patches(grid: tuple[int, int], side: int) -> Tensor:
    """Return the number of the patch of each token of a grid, (row * column,); edges are cut."""
    import torch

    rows, columns = torch.arange(grid[0]) // side, torch.arange(grid[1]) // side
    return (rows[:, None] * -(-grid[1] // side) + columns).flatten()


def base_scores(x: Tensor, patch: Tensor, noise: Tensor) -> Tensor:
    """Return a score of each token, (batch, token): the first of a patch is above all others.

    Args:
        x: (batch, token, hidden).
        patch: (token,) the patch of each.
        noise: (batch, token) added to the mean cosine with the patch.
    """
    import torch

    same = patch[:, None] == patch
    score = (cosine(x, x) * same).sum(2) / same.sum(1) + noise
    first = best_first(score[:, None].masked_fill(~same, -torch.inf), 1)[..., 0]
    return score + torch.zeros_like(score).scatter(1, first, 1.0) * (2 + 2 * noise.amax())


def copy_matrix(x: Tensor, base: Tensor) -> Tensor:
    """Return (batch, token, token) with one 1 a row: the base token each one becomes.

    Args:
        x: (batch, token, hidden).
        base: (batch, k) ascending; a base token stays itself, others take the most similar.
    """
    import torch

    source = base.gather(1, best_first(cosine(x, rows_of(x, base)), 1)[..., 0])
    return torch.eye(x.shape[1])[source.scatter(1, base, base)]
