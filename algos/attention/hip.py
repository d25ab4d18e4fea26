"""HiP: a tree search for the key blocks that a block of queries should read.

Lee et al., ICLR 2025, arXiv:2406.09827. The keys are cut into as many spans as blocks may be read;
each span is halved, a half is judged by one of its blocks, the better half of all halves stays,
and so on until spans are single blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.attention.halving import Compat, search
from algos.base import Batch, Parity
from algos.kv.base import CacheMethod, CacheStep, Reading

if TYPE_CHECKING:
    from torch import Tensor


def block_scores(query: Tensor, key: Tensor, block: int, compat: Compat = "paper") -> Tensor:
    """Return the largest query . key of each key block, (..., blocks).

    Args:
        query: (..., rows, channel) of one block; all rows vote, in `authors` the odd ones.
        key: (..., n, channel).
        block: keys of a block; the last one may be shorter.
        compat: which rows vote.
    """
    import torch
    from torch.nn.functional import pad

    if compat == "authors" and query.shape[-2] > 1:
        query = query[..., 1::2, :]
    best = (query @ key.transpose(-1, -2)).amax(-2)
    best = pad(best, (0, -best.shape[-1] % block), value=-torch.inf)
    return best.view(*best.shape[:-1], -1, block).amax(-1)


class HiP(CacheMethod):
    """Read the key blocks found by a tree search, for each query head, and the queries' own block.

    The cache stays whole; a step reads at most its budget. Besides what the search finds, queries
    always read the latest keys, a block of queries long. `compat="authors"` (version 1.1): only
    odd rows of a query block vote, and the first block of a half stands for it.
    """

    name: ClassVar[str] = "hip"
    signal: ClassVar[str] = "query . key of the blocks that a tree search meets"
    paper: ClassVar[str] = "Lee et al., ICLR 2025, arXiv:2406.09827"
    granularity: ClassVar[str] = "block of keys of a query head"
    trace_kind: ClassVar[str] = "block mask"
    parity: ClassVar[Parity] = "authors"
    policy: ClassVar[str] = "reselect"

    block_queries: Annotated[int, Field(ge=1)] = 16
    """Queries that search together; an estimate for short contexts."""
    block_keys: Annotated[int, Field(ge=1)] = 4
    """Keys of a block; an estimate for short contexts."""
    compat: Compat = "paper"
    """Who votes, and which block stands for a half."""

    @property
    def protected(self) -> int:
        """The own keys of a block of queries, and two blocks: one may be cut by its end."""
        return self.block_queries + 2 * self.block_keys

    def begin(self, batch: Batch) -> None:
        """Check the budget."""
        self.budget(batch.tokens)

    def read(self, step: CacheStep, state: None) -> Reading:
        """Search for each block of queries."""
        import torch

        key = step.key.repeat_interleave(step.repeat, 1)
        batch, heads, queries = step.query.shape[:3]
        mask = torch.zeros(batch, heads, queries, step.entries, dtype=torch.bool)
        scored = 0
        for first in range(0, queries, self.block_queries):
            rows = slice(first, min(first + self.block_queries, queries))
            end = step.entries - queries + rows.stop
            own = max(0, end - self.block_queries) // self.block_keys * self.block_keys
            count = (self.budget(step.prompt_tokens) - (end - own)) // self.block_keys
            mask[:, :, rows, own:end] = True
            if own:
                scores = block_scores(
                    step.query[:, :, rows], key[:, :, :own], self.block_keys, self.compat
                )
                found, looked = search(scores, count, self.compat)
                # survivors are met again, but no key is fetched twice
                scored = min(looked * self.block_keys, own)
                mask[:, :, rows, :own] |= self._keys(found, own)[:, :, None]
        return Reading(
            mask=mask,
            scored_keys=scored,
            scored_channels=step.key.shape[-1] if scored else 0,
            block=(min(self.block_queries, queries), self.block_keys),
        )

    def _keys(self, blocks: Tensor, n: int) -> Tensor:
        """Mark the keys (batch, head, n) of blocks (batch, head, count)."""
        import torch

        marks = torch.zeros(*blocks.shape[:-1], n // self.block_keys, dtype=torch.bool)
        return marks.scatter(-1, blocks, True).repeat_interleave(self.block_keys, -1)
