"""Recoverable Compression: what vision finds, what the question asks for, and a merged rest.

Chen et al., AAAI 2025, arXiv:2409.01179.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.ranking import best_first, finite, top_ids

if TYPE_CHECKING:
    from torch import Tensor


def question_similarity(features: Tensor, text: Tensor) -> Tensor:
    """Return the cosine of each visual token to the mean of the question's tokens, (batch, N).

    Args:
        features: (batch, N, d) as the language model gets them.
        text: (batch, T, d) embeddings of the question.
    """
    from torch.nn.functional import cosine_similarity

    question = finite(text, "question embeddings").mean(1, keepdim=True)
    return cosine_similarity(finite(features, "features"), question, dim=-1)


def recover(attention: Tensor, similarity: Tensor, visual: int, textual: int) -> Tensor:
    """Return the tokens kept as they are, ascending, (batch, visual + textual).

    The `visual` most attended ones, then of the others the `textual` most like the question.

    Args:
        attention: (batch, N) class attention.
        similarity: (batch, N) to the question.
        visual: tokens that vision keeps.
        textual: tokens that the question recovers.
    """
    import torch

    seen = best_first(finite(attention, "class attention"), visual)
    others = finite(similarity, "similarity").scatter(1, seen, -torch.inf)
    return torch.cat([seen, best_first(others, textual)], 1).sort(1).values


def merge_rest(features: Tensor, kept: Tensor, groups: int, neighbours: int = 5) -> Tensor:
    """Return what every new token is made of, (batch, kept + groups, N), rows of weights.

    The tokens that are not kept are clustered: centres are those that are dense among their
    nearest neighbours and far from any denser one; each other joins its nearest centre and a
    cluster becomes its mean. Rows are in order of kept token or centre.

    Args:
        features: (batch, N, d) as the language model gets them.
        kept: (batch, m) tokens that stay as they are.
        groups: clusters of the others, at most as many as those.
        neighbours: that density is measured on.
    """
    import torch

    return torch.stack(
        [_merged(x, ids, groups, neighbours) for x, ids in zip(features, kept, strict=True)]
    )


def _merged(features: Tensor, kept: Tensor, groups: int, neighbours: int) -> Tensor:
    import torch

    n = len(features)
    weights = torch.eye(n)
    alone = torch.zeros(n, dtype=torch.bool)
    alone[kept] = True
    rest = (~alone).nonzero()[:, 0]
    distance = torch.cdist(features[None, rest], features[None, rest])[0]
    centres = top_ids(centrality(distance, neighbours)[None], groups)[0]
    group = distance[:, centres].argmin(1)
    group[centres] = torch.arange(groups)
    for number, centre in enumerate(rest[centres]):
        members = rest[group == number]
        weights[centre] = 0
        weights[centre, members] = 1 / len(members)
    alone[rest[centres]] = True
    return weights[alone]


def centrality(distance: Tensor, neighbours: int) -> Tensor:
    """Return how much a point is a centre, (n,), of (n, n): density times distance to denser.

    Density is exp(-mean squared distance to the nearest neighbours); the densest point has the
    largest distance of all. Rodriguez and Laio, Science 2014, with densities by neighbours.
    """
    import torch

    n = len(distance)
    near = distance.topk(min(neighbours, n), dim=1, largest=False).values
    spread = near.square().mean(1)
    density = (-spread / spread.mean().clamp_min(1e-30)).exp()
    rank = best_first(density[None], n)[0].argsort()  # equals: the first is denser
    denser = rank[None, :] < rank[:, None]
    apart = distance.masked_fill(~denser, torch.inf).amin(1)
    apart = torch.where(apart.isinf(), distance.max(), apart)
    return density * apart
