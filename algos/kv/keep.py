"""Shared pieces of the KV methods: sums of attention, protected tokens, and which ones stay.

A score is (..., n) float, one number for each entry that the cache holds, in the order of the
text; a larger one stays. Among equals the lowest index stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.selection import kept_ids, largest
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def received(probability: Tensor) -> Tensor:
    """Return the attention each key received, (batch, head, key), summed over the queries."""
    return probability.sum(-2)


def accumulate(total: Tensor | None, fresh: Tensor, forgetting: float = 1.0) -> Tensor:
    """Return forgetting * total + fresh; keys that `total` does not know yet start at 0.

    Args:
        total: (..., m) of the m oldest keys; None: there is none yet.
        fresh: (..., n) of all keys, n >= m.
        forgetting: factor of what was before.
    """
    if total is None:
        return fresh
    sums = fresh.clone()
    sums[..., : total.shape[-1]] += forgetting * total
    return sums


def group_sum(x: Tensor, kv_heads: int) -> Tensor:
    """Sum (batch, head, ...) over the query heads of each KV head: (batch, kv_head, ...).

    Raises:
        InputError: the heads are no multiple of the KV heads.
    """
    heads = x.shape[1]
    if heads % kv_heads:
        raise InputError(f"heads must be a multiple of the {kv_heads} KV heads, not {heads}")
    return x.reshape(len(x), kv_heads, heads // kv_heads, *x.shape[2:]).sum(2)


def group_mean(x: Tensor, kv_heads: int) -> Tensor:
    """Average (batch, head, ...) over the query heads of each KV head."""
    return group_sum(x, kv_heads) / (x.shape[1] // kv_heads)


def keep_top(score: Tensor, count: int) -> Tensor:
    """Mark the `count` largest of each row of (..., n); all of them if there are fewer.

    Raises:
        InputError: a score is not finite.
    """
    if not bool(score.isfinite().all()):
        where = tuple(int(i) for i in (~score.isfinite()).nonzero()[0])
        raise InputError(f"every score must be finite, that at {where} is {score[where].item()}")
    return largest(score, count)


def check_budget(budget: int, sinks: int, recent: int) -> None:
    """Require a budget of tokens that holds the protected ones.

    Raises:
        InputError: it does not.
    """
    if budget < sinks + recent:
        raise InputError(
            f"the budget must hold the {sinks + recent} protected tokens ({sinks} first, {recent} "
            f"latest), it is {budget}"
        )


def keep_budget(score: Tensor, budget: int, *, sinks: int = 0, recent: int = 0) -> Tensor:
    """Mark what stays: the first `sinks`, the latest `recent`, and the best of those between.

    Args:
        score: (..., n); those of protected tokens only have to be finite.
        budget: tokens that may stay, protected ones among them; with n <= budget all do.
        sinks: protected at the start.
        recent: protected at the end.

    Returns:
        (..., n) bool with min(n, budget) true in each row.

    Raises:
        InputError: the budget is below the protected tokens, or a score is not finite.
    """
    check_budget(budget, sinks, recent)
    n = score.shape[-1]
    if n <= budget:
        return keep_top(score, n)
    mask = keep_top(score[..., sinks : n - recent], budget - sinks - recent)
    whole = score.new_ones(score.shape).bool()
    whole[..., sinks : n - recent] = mask
    return whole


def survivors(x: Tensor, keep: Tensor) -> Tensor:
    """Return (batch, group, k) of what is kept of x (batch, group, n), in order."""
    return x.gather(-1, kept_ids(keep))
