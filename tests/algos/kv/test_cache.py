"""The cache of one layer: what goes in, what stays, and in which order."""

from __future__ import annotations

import torch

from algos.kv.base import Storing
from algos.kv.cache import LayerCache


def cache(entries: int = 5) -> LayerCache:
    ids = torch.arange(entries).expand(1, 2, -1)
    numbers = ids.float().unsqueeze(-1)
    return LayerCache(key=numbers, value=-numbers, ids=ids)


def keep(*rows: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.bool)


def test_what_is_kept_stays_in_order_and_new_entries_come_behind() -> None:
    left = cache().apply(Storing(keep=keep((1, 0, 1, 0, 1), (0, 1, 1, 1, 0))))
    assert left.ids.tolist() == [[[0, 2, 4], [1, 2, 3]]]
    assert left.key[..., 0].tolist() == [[[0, 2, 4], [1, 2, 3]]]
    assert left.value[..., 0].tolist() == [[[0, -2, -4], [-1, -2, -3]]]
    assert left.valid is None
    new = torch.full((1, 2, 1, 1), 9.0)
    grown = left.append(new, new, torch.full((1, 2, 1), 5))
    assert grown.ids.tolist() == [[[0, 2, 4, 5], [1, 2, 3, 5]]]


def test_a_shorter_head_is_filled_up_in_front() -> None:
    left = cache().apply(Storing(keep=keep((1, 1, 1, 0, 1), (0, 0, 0, 1, 1))))
    assert left.ids.tolist() == [[[0, 1, 2, 4], [-1, -1, 3, 4]]]
    assert left.valid is not None
    assert left.valid.tolist() == [[[True] * 4, [False, False, True, True]]]
    again = left.apply(Storing(keep=torch.ones(1, 2, 4, dtype=torch.bool)))
    assert again.ids.tolist() == left.ids.tolist()
    even = left.apply(Storing(keep=keep((0, 0, 1, 1), (1, 1, 1, 1))))
    assert even.ids.tolist() == [[[2, 4], [3, 4]]]
    assert even.valid is None


def test_contents_can_change_without_evicting() -> None:
    before = cache()
    after = before.apply(Storing(key=before.key * 0, key_rank=3))
    assert after.key.abs().sum() == 0
    assert (after.value == before.value).all()
    assert (after.key_rank, after.apply(Storing()).key_rank) == (3, 3)
