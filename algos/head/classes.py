"""What methods share that part heads into two classes: full caches, and sinks with a window."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.attention.sink_window import SinkWindow
from algos.base import Batch, Calibration
from algos.kv.base import CacheAttention, CacheMethod, CacheStep, Reading, Storing
from algos.kv.keep import keep_top
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def streaming_mask(query_ids: Tensor, key_ids: Tensor, sinks: int, recent: int) -> Tensor:
    """Return what a streaming head sees, (..., query, key) bool, of positions of both.

    Its `sinks` first tokens and the `recent` latest up to the query, itself among them.
    """
    seen = SinkWindow(sinks=sinks, recent=recent).visible(query_ids, key_ids)
    return seen & (key_ids >= 0)[..., None, :]


def best_heads(importance: Tensor, count: int) -> Tensor:
    """Mark the `count` most important of all heads (layer, kv_head); ties: the first layer's."""
    return keep_top(importance.flatten(), count).view(importance.shape)


class HeadClasses(CacheMethod):
    """Base of methods where important KV heads hold everything, the others hardly anything.

    The budget is on all heads of the model together: as many heads are full as it allows.
    """

    granularity: ClassVar[str] = "KV head"
    trace_kind: ClassVar[str] = "head class"
    policy: ClassVar[str] = "sink_recent"
    calibrated: ClassVar[bool] = True

    sinks: Annotated[int, Field(ge=0)] = 4
    """First tokens of streaming heads; the paper's 128 do not fit short contexts."""
    recent: Annotated[int, Field(ge=1)] = 28
    """Latest tokens of streaming heads; the paper's 256 do not fit short contexts."""

    @property
    def protected(self) -> int:
        """What a streaming head holds."""
        return self.sinks + self.recent

    @abstractmethod
    def calibrate(self, seen: Calibration) -> Tensor:
        """Return the importance (layer, kv_head) of all heads."""

    def full_count(self, heads: int, prompt_tokens: int) -> int:
        """Return how many of the model's KV heads may hold everything."""
        left = heads * (self.budget(prompt_tokens) - self.protected)
        more = prompt_tokens - self.protected  # what a full head holds beyond a streaming one
        return min(heads, left // more) if more > 0 else heads

    def begin(self, batch: Batch) -> Tensor:
        """Return which heads are full, (layer, kv_head) bool."""
        importance = batch.calibration
        if importance is None:
            raise InputError(f"{self.name} must be calibrated before it runs, it was not")
        return best_heads(importance, self.full_count(importance.numel(), batch.tokens))

    def read(self, step: CacheStep, state: Tensor) -> Reading:
        """Mask the prefill of streaming heads; later steps read what is held."""
        full = state[step.layer]
        policies = tuple(
            "full" if whole else "sink_recent"
            for whole in full.tolist()
            for _ in range(step.repeat)
        )
        mask = None
        if step.step == 0:
            seen = streaming_mask(step.query_ids[:, None], step.ids, self.sinks, self.recent)
            mask = seen | full[None, :, None, None]
        return Reading(
            mask=mask, policies=policies, sink_tokens=self.sinks, recent_tokens=self.recent
        )

    def store(self, step: CacheStep, attention: CacheAttention, state: Tensor) -> Storing:
        """Cut the streaming heads back."""
        latest = step.query_ids[:, None, -1:]
        seen = streaming_mask(latest, step.ids, self.sinks, self.recent)[:, :, 0]
        return Storing(keep=seen | (state[step.layer][None, :, None] & (step.ids >= 0)))
