"""TIM: finished subtasks leave the cache, page by page.  Luo et al., arXiv:2507.16784."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


def page_mask(pages: Tensor, limit: int) -> Tensor:
    """Drop whole pages, oldest first but never the first one, until at most `limit` tokens stay.

    Args:
        pages: (n,) int64, not descending: the page of each token that is held.
        limit: tokens.

    Returns:
        (n,) bool.
    """
    keep = pages >= 0
    for page in sorted(set(pages.tolist()))[1:]:
        if int(keep.sum()) <= limit:
            break
        keep = keep & (pages != page)
    return keep


class Tim(Evicting):
    """Keep the first page and the latest pages; the oldest finished spans go, whole pages.

    From the description: a subtask's tokens go once it is finished, in pages, by rule, without any
    score. Assumed, since plain text has no subtasks: each page is a subtask, and the oldest is
    finished first. The cache holds up to a page less than its budget.
    """

    name: ClassVar[str] = "tim"
    signal: ClassVar[str] = "position: which span is finished"
    paper: ClassVar[str] = "Luo et al., arXiv:2507.16784"
    granularity: ClassVar[str] = "page of tokens of the model"
    parity: ClassVar[Parity] = "description"
    training: ClassVar[str] = "a model that writes subtasks; here a rule stands for it"

    page: Annotated[int, Field(ge=1)] = 16
    """Tokens of a page (an estimate: the usual size in paged caches)."""

    @property
    def protected(self) -> int:
        """The first page and the current one."""
        return 2 * self.page

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Score by position; all heads hold the same tokens."""
        return step.ids.to(step.key.dtype)

    def store(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Storing:
        """Drop pages."""
        keep = page_mask(step.ids[0, 0] // self.page, self.budget(step.prompt_tokens))
        return Storing(keep=keep.expand(step.ids.shape))
