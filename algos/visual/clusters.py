"""Clusters of visual tokens around density peaks.

Rodriguez and Laio, Science 2014; density is measured on the nearest neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.selection import best_first
from algos.visual.base import Selected
from algos.visual.ranking import top_ids

if TYPE_CHECKING:
    from torch import Tensor


def merge_rest(features: Tensor, kept: Tensor, groups: int, neighbours: int = 5) -> Selected:
    """Merge the tokens that are not kept into `groups` and return all that is left.

    Centres of groups are those that are dense among their nearest neighbours and far from any
    denser one; each other token joins its nearest centre, and a group becomes its mean.

    Args:
        features: (batch, N, d) as the language model gets them.
        kept: (batch, m) tokens that stay as they are.
        groups: clusters of the others, at least 1 and at most as many as those.
        neighbours: that density is measured on.
    """
    import torch

    made = [_merged(x, ids, groups, neighbours) for x, ids in zip(features, kept, strict=True)]
    ids, weights = zip(*made, strict=True)
    return Selected(kept=torch.stack(ids), merge=torch.stack(weights))


def _merged(features: Tensor, kept: Tensor, groups: int, neighbours: int) -> tuple[Tensor, Tensor]:
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
    ids = torch.cat([kept, rest[centres]]).sort().values
    return ids, weights[ids]


def centrality(distance: Tensor, neighbours: int) -> Tensor:
    """Return how much a point is a centre, (n,), of (n, n): density times distance to denser.

    Density is exp(-mean squared distance to the nearest neighbours); the densest point has the
    largest distance of all.
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
