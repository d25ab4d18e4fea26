"""InfiniteVGGT: a rolling cache of bounded size that keeps diverse keys, frame by frame.

Yuan et al., arXiv:2601.02281; built from its description alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import keep_budget
from algos.kv.keydiff import key_difference

if TYPE_CHECKING:
    from torch import Tensor


class InfiniteVGGT(Evicting):
    """Keep the first frame and the tokens whose keys differ most from the mean key.

    From the description: the cache is bounded, training-free, blind to attention, and obsolete
    entries go when a new frame comes. Assumed: a frame of text is `frame` tokens, the first one is
    an anchor that stays, diversity is minus the cosine with the mean key direction (as in KeyDiff),
    and all layers have the same budget. When the cache is full, room is made for a whole frame, so
    it holds between budget - frame + 1 and budget tokens.
    """

    name: ClassVar[str] = "infinite-vggt"
    signal: ClassVar[str] = "cosine between a key and the mean key direction"
    paper: ClassVar[str] = "Yuan et al., arXiv:2601.02281"
    parity: ClassVar[Parity] = "description"

    frame: Annotated[int, Field(ge=1)] = 8
    """Tokens of a frame (an estimate: text has none)."""

    @property
    def protected(self) -> int:
        """The first frame, and room for one more."""
        return 2 * self.frame

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Compare the keys."""
        return key_difference(step.key)

    def store(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Storing:
        """Make room for a frame when the budget is exceeded; the prompt fills it."""
        budget = self.budget(step.prompt_tokens)
        if step.entries <= budget:
            return Storing()
        room = self.frame - 1 if step.step else 0
        score = self.score(step, attention, state)
        return Storing(keep=keep_budget(score, budget - room, sinks=self.frame))
