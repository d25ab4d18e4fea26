"""Methods that drop, merge or bypass tokens between two blocks of a model.

In a decoder or a vision-language model this happens in the prefill: a later step attends to what
each layer has left. Only a method that revives is asked again, see `algos.token.reviving`; cascade
pruning, which decides anew in every step, has a base of its own, `algos.token.cascade`. The tokens
kept must include the class token of an encoder with one, and the last token of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import AttentionOutcome, Decision, Method
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

    from workloads.session import Glimpse


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the block before computed, of the tokens that now stand between the blocks."""

    step: AttentionStep
    outcome: AttentionOutcome
    modules: Mapping[str, tuple[Tensor, Tensor]]  # "attention", "feed_forward": (normed input,
    # output before the residual), (batch, token, hidden); only for methods that want them


@dataclass(frozen=True, kw_only=True)
class Between:
    """Tokens before a block."""

    layer: int  # of the block that comes
    step: int
    hidden: Tensor  # (batch, token, hidden)
    ids: Tensor  # (batch, token) positions in the unpruned sequence, ascending
    before: Seen | None  # None: no block has run
    look_ahead: Callable[[], Glimpse]  # what the coming block would compute of all tokens


class TokenMethod(Method):
    """Base of methods that act between blocks; abstract."""

    family: ClassVar[str] = "token"
    wants_modules: ClassVar[bool] = False
    revives: ClassVar[bool] = False  # `between` is asked in every step of a decoder, of all tokens
    # that entered the block before: those it drops may come back in a later step

    def between(self, entry: Between, state: Any) -> Decision:
        """Decide which tokens enter the coming block; by default all."""
        return Decision()
