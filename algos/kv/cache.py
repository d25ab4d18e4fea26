"""The KV cache of one layer, which methods evict from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from algos.kv.base import Storing

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LayerCache:
    """Entries in the order of their positions. `group`: heads that have a cache of their own."""

    key: Tensor  # (batch, group, entry, channel)
    value: Tensor
    ids: Tensor  # (batch, group, entry) int64 positions; -1: padding of a shorter head
    valid: Tensor | None = None  # (batch, group, entry) bool; None: all
    key_channels: Tensor | None = None  # (batch, group, channel) bool; None: all
    key_rank: int = 0  # width of a low-rank K; 0: it is not
    value_rank: int = 0

    def append(self, key: Tensor, value: Tensor, ids: Tensor) -> LayerCache:
        """Return the cache with new entries behind the old ones."""
        import torch

        valid = self.valid
        if valid is not None:
            valid = torch.cat((valid, torch.ones_like(ids, dtype=torch.bool)), 2)
        return replace(
            self,
            key=torch.cat((self.key, key), 2),
            value=torch.cat((self.value, value), 2),
            ids=torch.cat((self.ids, ids), 2),
            valid=valid,
        )

    def apply(self, storing: Storing) -> LayerCache:
        """Return the cache as a method leaves it."""
        changed = replace(
            self,
            key=self.key if storing.key is None else storing.key,
            value=self.value if storing.value is None else storing.value,
            key_channels=storing.key_channels
            if storing.key_channels is not None
            else self.key_channels,
            key_rank=storing.key_rank or self.key_rank,
            value_rank=storing.value_rank or self.value_rank,
        )
        return changed if storing.keep is None else changed._kept(storing.keep)

    def _kept(self, keep: Tensor) -> LayerCache:
        """Gather what is kept, (batch, group, entry); shorter heads are filled up in front."""
        import torch

        if self.valid is not None:
            keep = keep & self.valid
        counts = keep.sum(2)
        most = int(counts.max())
        # dropped entries first, each kind in its order: the last `most` hold all that is kept
        order = keep.to(torch.int8).argsort(dim=2, stable=True)[:, :, keep.shape[2] - most :]
        rows = order.unsqueeze(-1).expand(-1, -1, -1, self.key.shape[-1])
        kept = keep.gather(2, order)
        equal = bool((counts == most).all())
        ids = self.ids.gather(2, order)
        return replace(
            self,
            key=self.key.gather(2, rows),
            value=self.value.gather(2, rows),
            ids=ids if equal else ids.masked_fill(~kept, -1),
            valid=None if equal else kept,
        )
