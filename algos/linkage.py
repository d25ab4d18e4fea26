"""Complete linkage: clusters whose members are all close to each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def clusters(distance: Tensor, count: int, threshold: float = math.inf) -> list[int]:
    """Return the cluster of each thing, numbered by first member.

    The closest pair not yet looked at merges its clusters if the largest distance between their
    members is below the threshold, until `count` clusters are left or no pair is. Of equally close
    pairs the first counts.

    Args:
        distance: (n, n), symmetric.
        count: clusters wanted; more where the threshold forbids.
        threshold: on the distance between members.

    Raises:
        InputError: a distance is not finite.
    """
    if not bool(distance.isfinite().all()):
        raise InputError("distances to cluster by must be finite, some are not")
    n = len(distance)
    values = distance.tolist()
    pairs = [(values[i][j], i, j) for i in range(n) for j in range(i + 1, n)]
    groups = [{i} for i in range(n)]
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
