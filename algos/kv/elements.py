"""What methods share that shrink old tokens: a dense window, and a budget of elements."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from algos.base import Batch, Ratio
from algos.kv.base import CacheMethod, CacheStep
from workloads.errors import InputError


class Elements(CacheMethod):
    """Base of methods that keep every token, but less of each once it is old; abstract."""

    policy: ClassVar[str] = "full"

    keep_ratio: Ratio = 0.75
    """Elements of K and V that the prompt holds after the prefill, dense latest tokens included."""
    recent: Annotated[int, Field(ge=0)] = 32
    """Latest tokens that stay dense; older ones shrink as they leave this window."""

    @property
    def protected(self) -> int:
        """The dense tokens."""
        return self.recent

    def old_share(self, prompt_tokens: int) -> float:
        """Return the share of its elements that an old token keeps.

        Raises:
            InputError: the dense window alone is beyond the budget.
        """
        dense = min(self.recent, prompt_tokens)
        if self.keep_ratio * prompt_tokens < dense:
            raise InputError(
                f"{self.name} keep_ratio must leave at least the {dense} dense tokens, "
                f"{self.keep_ratio:g} of {prompt_tokens} is {self.keep_ratio * prompt_tokens:g}"
            )
        old = prompt_tokens - dense
        return (self.keep_ratio * prompt_tokens - dense) / old if old else 1.0

    def key_share(self, prompt_tokens: int) -> float:
        """Return the share of K that an old token keeps where V stays whole.

        Raises:
            InputError: V and the dense window alone are beyond the budget.
        """
        share = 2 * self.old_share(prompt_tokens) - 1
        if share <= 0:
            dense = min(self.recent, prompt_tokens)
            least = (1 + dense / prompt_tokens) / 2
            raise InputError(
                f"{self.name} keep_ratio must be above {least:.3g} to hold V and {dense} dense "
                f"tokens of {prompt_tokens}, it is {self.keep_ratio:g}"
            )
        return share

    def leaving(self, step: CacheStep) -> slice:
        """Return the entries that have just left the window."""
        end = max(0, step.entries - self.recent)
        return slice(max(0, end - step.query.shape[2]) if step.step else 0, end)

    def count(self, share: float, of: int) -> int:
        """Return floor(share * of).

        Raises:
            InputError: it is 0.
        """
        count = int(share * of + 1e-9)
        if count < 1:
            raise InputError(f"{self.name} must leave at least 1 of {of} channels, it leaves 0")
        return count

    def begin(self, batch: Batch) -> dict[int, object]:
        """Check the budget; layers remember what they need by number."""
        self.old_share(batch.tokens)
        return {}
