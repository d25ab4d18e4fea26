"""Methods on the KV cache: what each step reads of it, and what it holds afterwards.

A sequence is prefilled (step 0, all prompt tokens are queries) and then decoded token by token.
In each layer of each step the harness appends the new keys and values to the cache, asks `read`
what is attended to, computes the attention, and asks `store` what stays. Evicted entries are gone.

Keys carry their rotary embedding at their true position: nothing is ever rotated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Method, Ratio, WorkloadKind
from algos.selection import keep_count
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TEXT: tuple[WorkloadKind, ...] = ("text", "questions")


@dataclass(frozen=True, kw_only=True)
class CacheStep:
    """One layer of one step. `group`: key/value heads, or query heads for `per_query_head`."""

    layer: int
    step: int  # 0: prefill; n: n-th token after the prompt
    prompt_tokens: int
    query: Tensor  # (batch, head, query, channel), rotated
    key: Tensor  # (batch, group, entry, channel), rotated; the last ones are this step's
    value: Tensor  # (batch, group, entry, channel)
    ids: Tensor  # (batch, group, entry) positions in the sequence, ascending
    valid: Tensor | None  # (batch, group, entry) bool; None: all. Only heads of unequal caches
    # have entries that are not: they are padding, ids -1
    query_ids: Tensor  # (batch, query) positions
    visible: Tensor  # (batch, 1 or group, query, entry) bool: valid and not later than the query
    scale: float  # multiplies query . key before softmax

    def __post_init__(self) -> None:
        """Check that heads share keys evenly.

        Raises:
            InputError: they do not.
        """
        heads, groups = self.query.shape[1], self.key.shape[1]
        if heads % groups:
            raise InputError(
                f"query heads must be a multiple of key/value heads, {heads} is none of {groups}"
            )

    @property
    def repeat(self) -> int:
        """Query heads that share a key head."""
        return self.query.shape[1] // self.key.shape[1]

    @property
    def entries(self) -> int:
        return self.key.shape[2]


@dataclass(frozen=True, kw_only=True)
class CacheAttention:
    """What the step computed."""

    scores: Tensor  # (batch, head, query, entry) query . key * scale, before any mask
    probability: Tensor  # (batch, head, query, entry)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a step attends to. The default reads the whole cache."""

    mask: Tensor | None = None  # (batch or 1, head or group or 1, query, entry) bool: what is read
    # of what is visible; None: all
    key: Tensor | None = None  # keys as they are read, if not as stored
    value: Tensor | None = None
    scored_keys: int = 0  # entries that a cheap scoring pass looked at
    scored_channels: int = 0  # channels of K that it read
    block: tuple[int, int] | None = None  # queries and entries of a block of `mask`
    delta: Tensor | None = None  # (batch, group, entry, channel) bool: where the temporal delta of
    # K is not zero
    delta_window: int = 0  # latest entries that are read in full beside it
    policies: tuple[str, ...] | None = None  # of each query head; None: the method's
    sink_tokens: int = 0
    recent_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Storing:
    """What stays in the cache after a step. The default keeps it as it is.

    Elements set to exactly 0 count as pruned: the harness measures their density.
    """

    keep: Tensor | None = None  # (batch, group, entry) bool; None: all
    key: Tensor | None = None  # (batch, group, entry, channel), before `keep`; None: unchanged
    value: Tensor | None = None
    key_channels: Tensor | None = None  # (batch, group, channel) bool: channels of K that are
    # stored, from now on; None: no change
    key_rank: int = 0  # width of a low-rank K; 0: no change
    value_rank: int = 0


class CacheMethod(Method):
    """Base of methods on the KV cache; abstract."""

    family: ClassVar[str] = "kv"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = TEXT
    per_query_head: ClassVar[bool] = False  # each query head has a cache of its own
    policy: ClassVar[str] = "evict"  # `kv_policy` of the trace

    keep_ratio: Ratio = 0.25
    """Prompt tokens that each head holds in its cache from the end of the prefill on; a step also
    attends to its own token."""

    def budget(self, prompt_tokens: int) -> int:
        """Return how many tokens a head holds: the ratio of the prompt, rounded down, at least 1.

        Raises:
            InputError: fewer than the tokens that are protected.
        """
        budget, protected = keep_count(self.keep_ratio, prompt_tokens), self.protected
        if budget < protected:
            raise InputError(
                f"{self.name} keep_ratio must leave at least the {protected} protected tokens, "
                f"{self.keep_ratio:g} of {prompt_tokens} tokens is {budget}"
            )
        return budget

    @property
    def protected(self) -> int:
        """Tokens that a cache always holds: sinks and recent ones."""
        return 0

    def read(self, step: CacheStep, state: Any) -> Reading:
        """Decide what is attended to; by default everything."""
        return Reading()

    def store(self, step: CacheStep, attention: CacheAttention, state: Any) -> Storing:
        """Decide what stays in the cache; by default everything."""
        return Storing()
