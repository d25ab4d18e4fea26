"""DeltaLLM: keys as changes against the key before.  Qi et al., arXiv:2507.19608.

Outside a window of dense tokens, a key is stored as its difference to the last stored key, whose
small components are zero: score_t = score_(t-1) + q . delta_t skips them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Batch, Parity
from algos.kv.base import CacheAttention, CacheStep, Reading, Storing
from algos.kv.elements import Elements

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 12  # of the search for a threshold: its error is 1/4,096 of the largest key element


def delta_keys(key: Tensor, threshold: Tensor, last: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the keys that deltas give, and where a delta is not zero; both (..., n, channel).

    A component of the delta against the last stored key is zero where it is below the threshold:
    the stored component then stays as it was.

    Args:
        key: (..., n, channel).
        threshold: (..., 1), not negative.
        last: (..., channel), the stored key before the first; None: the first is stored whole.
    """
    import torch

    stored, keys, marks = last, [], []
    for fresh in key.unbind(-2):
        changed = torch.ones_like(fresh, dtype=torch.bool)
        if stored is not None:
            changed = (fresh - stored).abs() >= threshold
        stored = fresh if stored is None else torch.where(changed, fresh, stored)
        keys.append(stored)
        marks.append(changed)
    return torch.stack(keys, -2), torch.stack(marks, -2)


def threshold_for(key: Tensor, density: float) -> Tensor:
    """Return thresholds (..., 1) that leave at most `density` of the deltas, found by bisection.

    Args:
        key: (..., n, channel).
        density: share of components, in (0, 1].
    """
    import torch

    low = key.new_zeros(*key.shape[:-2], 1)
    high = 2.01 * key.abs().amax((-2, -1))[..., None] + 1e-6  # above every delta
    if density >= 1:
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = delta_keys(key, middle)[1].float().mean((-2, -1))[..., None] > density
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high


class DeltaLLM(Elements):
    """Keep of old keys only the components that changed; V and the latest tokens stay whole.

    From the description: a threshold on |delta|, full attention in a local window. Assumed: one
    threshold a KV head, chosen on the prompt so that the elements of the window, of V and of the
    deltas that are not zero meet the budget, which is not exceeded by the prompt and met within a
    few elements; the prefill itself is exact. Tokens decoded later keep the threshold, so their
    density is their own.
    """

    name: ClassVar[str] = "deltallm"
    signal: ClassVar[str] = "change of a key component against the last stored one"
    paper: ClassVar[str] = "Qi et al., arXiv:2507.19608"
    granularity: ClassVar[str] = "component of the delta of K"
    trace_kind: ClassVar[str] = "delta mask"
    parity: ClassVar[Parity] = "description"

    def begin(self, batch: Batch) -> dict[int, Any]:
        """Check the budget; the state holds threshold, stored key and marks of each layer."""
        self.key_share(batch.tokens)
        return {}

    def read(self, step: CacheStep, state: dict[int, Any]) -> Reading:
        """Tell where deltas are; the latest tokens are read in full."""
        from torch.nn.functional import pad

        if step.step == 0 or step.layer not in state:
            return Reading()
        marks: Tensor = state[step.layer][2]
        latest = step.entries - marks.shape[2]
        return Reading(delta=pad(marks, (0, 0, 0, latest), value=True), delta_window=latest)

    def store(self, step: CacheStep, attention: CacheAttention, state: dict[int, Any]) -> Storing:
        """Turn the tokens that leave the window into deltas."""
        import torch

        key, old = step.key.clone(), self.leaving(step)
        if old.stop == 0:
            return Storing()
        if step.layer not in state:
            leaving = key[:, :, : old.stop]
            threshold = threshold_for(leaving, self.key_share(step.prompt_tokens))
            stored, marks = delta_keys(leaving, threshold)
        else:
            threshold, last, before = state[step.layer]
            stored, marks = delta_keys(key[:, :, old], threshold, last)
            marks = torch.cat((before, marks), 2)
        key[:, :, old] = stored
        state[step.layer] = (threshold, stored[:, :, -1], marks)
        return Storing(key=key)
