"""STUN: experts that the router treats alike stand for one another.

Lee et al., ACL 2025, arXiv 2409.06211. The closest experts by their router rows are clustered;
a small cluster is averaged, of a large one the member nearest to the mean weights stays.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def router_distance(router: Tensor, by_norm: bool = False) -> Tensor:
    """Return distances (experts, experts) of router rows (experts, hidden).

    Args:
        router: one row an expert.
        by_norm: divide by the norm of the whole router, so that layers can be compared.
    """
    distance: Tensor = (router[:, None] - router[None]).norm(dim=-1)
    return distance / router.norm() if by_norm else distance


def clusters(distance: Tensor, count: int, threshold: float = math.inf) -> list[int]:
    """Return the cluster of each expert, numbered by first member.

    The closest pair not yet looked at merges its clusters if the largest distance between their
    members is below the threshold, until `count` clusters are left or no pair is. Of equally close
    pairs the first counts.

    Args:
        distance: (experts, experts), symmetric.
        count: clusters wanted; more where the threshold forbids.
        threshold: on the distance between members.

    Raises:
        InputError: a distance is not finite.
    """
    if not bool(distance.isfinite().all()):
        raise InputError("distances of experts must be finite, some are not")
    experts = len(distance)
    values = distance.tolist()
    pairs = [(values[i][j], i, j) for i in range(experts) for j in range(i + 1, experts)]
    groups = [{expert} for expert in range(experts)]
    for _, i, j in sorted(pairs):
        if len({id(group) for group in groups}) <= count:
            break
        one, other = groups[i], groups[j]
        if one is not other and max(values[a][b] for a in one for b in other) < threshold:
            one |= other
            for member in other:
                groups[member] = one
    numbers: dict[int, int] = {}
    return [numbers.setdefault(id(group), len(numbers)) for group in groups]


def representatives(labels: list[int], weights: Tensor, averaged_up_to: int) -> list[int]:
    """Return the member that stays of each cluster, in the clusters' order.

    Args:
        labels: cluster of each expert.
        weights: (experts, n) all weights of each expert.
        averaged_up_to: clusters up to this size are averaged into their first member; of larger
            ones the member nearest to the mean stays as it is.
    """
    kept = []
    for cluster in range(max(labels) + 1):
        members = [expert for expert, label in enumerate(labels) if label == cluster]
        if len(members) > averaged_up_to:
            rows = weights[members]
            members = [members[int((rows - rows.mean(0)).norm(dim=1).argmin())]]
        kept.append(members[0])
    return kept
