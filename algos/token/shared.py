"""What methods that drop tokens share: selections, similarities, schedules over depth.

Visual tokens are one run of the living tokens, the same in each sequence of a batch, so a slice
names them. Among equal scores the lowest index wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from algos.selection import best_first, keep_count
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor


def top_order(score: Tensor, k: int, what: str = "token") -> Tensor:
    """Return the indices (batch, k) of the k largest scores (batch, n), best first.

    Raises:
        InputError: a score is not finite.
    """
    finite = score.isfinite()
    if not bool(finite.all()):
        row, index = (int(i) for i in (~finite).nonzero()[0])
        value = score[row, index].item()
        raise InputError(f"the score of every {what} must be finite, that of {index} is {value}")
    return best_first(score, k)


def top_ordinals(score: Tensor, k: int, what: str = "token") -> Tensor:
    """Return the indices (batch, k), ascending, of the k largest scores (batch, n)."""
    return top_order(score, k, what).sort(dim=-1).values


def with_others(chosen: Tensor, visual: slice, tokens: int) -> Tensor:
    """Return the ordinals of the chosen visual tokens and of all others, ascending.

    Args:
        chosen: (batch, k) ascending, counted from the first visual token.
        visual: where the visual tokens are among `tokens`.
        tokens: living tokens.
    """
    import torch

    rows = len(chosen)
    before = torch.arange(visual.start).expand(rows, -1)
    after = torch.arange(visual.stop, tokens).expand(rows, -1)
    return torch.cat([before, chosen + visual.start, after], dim=1)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Return cosine similarities (..., n, m) of vectors (..., n, c) and (..., m, c); of zeros 0."""
    from torch.nn.functional import normalize

    return normalize(x, dim=-1) @ normalize(y, dim=-1).mT


def shares(score: Tensor) -> Tensor:
    """Scale scores (batch, n), not negative, to sum 1 in each row; a row of zeros stays zero."""
    return score / score.sum(-1, keepdim=True).clamp_min(1e-30)


def last_attention(probability: Tensor) -> Tensor:
    """Return what the last query gives each key, mean over heads, (batch, key).

    Args:
        probability: (batch, head, query, key).
    """
    return probability[:, :, -1].mean(1)


def random_scores(generators: Sequence[Generator], *shape: int) -> Tensor:
    """Draw numbers (batch, *shape) in [0, 1), each sequence with its own generator."""
    import torch

    return torch.stack([torch.rand(shape, generator=generator) for generator in generators])


def cut_layers(fractions: Sequence[float], layers: int) -> tuple[int, ...]:
    """Return before which layer each cut falls: a share of the depth, rounded half to even.

    Cuts keep their order and are at least 1: one that would fall on the cut before it moves on a
    layer. Those that a shallow model leaves no layer for share its last one.
    """
    cuts: list[int] = []
    for fraction in fractions:
        least = cuts[-1] + 1 if cuts else 1
        cuts.append(min(max(round(fraction * layers), least), max(layers - 1, 1)))
    return tuple(cuts)


def equal_cuts(
    first: float, last: float, cuts: int, end: float, layers: int, n: int
) -> dict[int, int]:
    """Return how many of n tokens are left before each layer of equal, evenly spaced cuts.

    Args:
        first: share of the depth of the first cut.
        last: share of the depth of the last cut.
        cuts: how many there are, at least 1; a single one falls on `first`.
        end: share kept after the last cut.
        layers: the depth.
        n: tokens before the first cut.
    """
    fractions = [first + (last - first) * i / max(cuts - 1, 1) for i in range(cuts)]
    left = staged_counts([(i + 1) / cuts for i in range(cuts)], end, n)
    return dict(zip(cut_layers(fractions, layers), left, strict=True))


def staged_counts(drops: Sequence[float], end: float, n: int) -> tuple[int, ...]:
    """Return what each stage keeps of n tokens when the last one keeps the share `end`.

    Args:
        drops: share of all that is to be dropped which is gone after each stage, rising to 1.
        end: share kept after the last stage.
        n: tokens before the first stage.
    """
    return tuple(keep_count(1 - (1 - end) * drop, n) if n else 0 for drop in drops)
