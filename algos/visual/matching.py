"""Bipartite soft matching: the most similar tokens become one.

Bolya et al., ICLR 2023 (ToMe), arXiv:2210.09461, section 3. Tokens at even places are matched with
those at odd places; the most similar pairs merge, each even token into its best odd one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.selection import best_first, rows_of
from algos.visual.ranking import finite

if TYPE_CHECKING:
    from torch import Tensor


def match(metric: Tensor, r: int, class_token: bool = False) -> Tensor:
    """Return which tokens each new token is made of, (batch, N - r, N) of 0 and 1.

    First come the even tokens left, from the least to the most willing to stay: by their
    largest cosine, falling; in order of position if there is a class token, which stays first.
    Then the odd ones.

    Args:
        metric: (batch, N, d) what similarity is measured on.
        r: tokens to merge away; more than (N - class token) // 2 count as that.
        class_token: the first token is one: it merges with none.
    """
    import torch
    from torch.nn.functional import normalize, one_hot

    batch, n, _ = finite(metric, "the merging metric").shape
    r = min(r, (n - class_token) // 2)
    eye = torch.eye(n).expand(batch, -1, -1)
    if r <= 0:
        return eye
    unit = normalize(metric, dim=-1)
    cosine = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    if class_token:
        cosine[:, 0] = -torch.inf
    best, partner = cosine.max(-1)
    order = best_first(best, best.shape[1])
    gone, left = order[:, :r], order[:, r:]
    if class_token:
        left = left.sort(1).values
    even, odd = eye[:, ::2], eye[:, 1::2]
    into = one_hot(partner.gather(1, gone), odd.shape[1]).transpose(1, 2).to(eye.dtype)
    merged = odd + into @ rows_of(even, gone)
    return torch.cat([rows_of(even, left), merged], 1)


def match_to(metric: Tensor, k: int) -> Tensor:
    """Return which tokens each of k new ones is made of, (batch, k, N) of 0 and 1.

    Rounds of `match` of at most half the tokens each; between them a token's metric is the mean
    over its members.

    Args:
        metric: (batch, N, d).
        k: tokens to arrive at.
    """
    import torch

    n = metric.shape[1]
    members = torch.eye(n).expand(len(metric), -1, -1)
    while members.shape[1] > k:
        now = mean_weights(members) @ metric
        members = match(now, members.shape[1] - k) @ members
    return members


def mean_weights(members: Tensor) -> Tensor:
    """Return the weights of a mean over members, rows of (batch, k, N) that sum to 1."""
    return members / members.sum(-1, keepdim=True)


def in_order(members: Tensor) -> tuple[Tensor, Tensor]:
    """Sort new tokens by their first member: its ids, ascending (batch, k), and (batch, k, N)."""
    first = members.argmax(-1)
    ids, order = first.sort(1)
    return ids, rows_of(members, order)
