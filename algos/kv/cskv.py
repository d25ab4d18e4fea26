"""CSKV: old tokens as features of low rank.  Wang et al., 2024, arXiv:2409.10593.

A projection W of K or V is replaced by B A: the cache holds the features A x, which B expands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Batch, Calibration, Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.elements import Elements
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def low_rank(weight: Tensor, rank: int, scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return A (rank, inputs) and B (outputs, rank) with B A close to the weight.

    The singular values are shared evenly between both factors. Signs of the singular vectors are
    arbitrary, those of B A are not.

    Args:
        weight: (outputs, inputs).
        rank: of the product.
        scale: (inputs,) positive, what the error is weighed by: in ASVD the root of an input's
            mean |x| + 1e-6. None: it is not weighed (SVD).
    """
    import torch

    scaled = weight if scale is None else weight * scale
    left, size, right = torch.linalg.svd(scaled, full_matrices=False)
    root = size[:rank].sqrt()
    a = root[:, None] * right[:rank]
    return (a if scale is None else a / scale), left[:, :rank] * root


def principal(features: Tensor) -> Tensor:
    """Return the orthonormal directions (channel, channel) of (token, channel), largest first."""
    from torch.nn.functional import normalize

    factor, _ = low_rank(features.mT @ features, features.shape[-1])
    return normalize(factor, dim=-1, eps=1e-30).mT


class CSKV(Elements):
    """Keep features of low rank of the K and V of all tokens that have left the dense window.

    The paper factorises the projections and then trains the factors to reproduce K and V. A cache
    does not show weights: here the factors are the best ones for the K and V of calibration text,
    all heads together and keys after their rotary embedding, which replaces that training. Ranks
    are rounded down to whole channels a head. The trace's rank is that of old tokens.
    """

    name: ClassVar[str] = "cskv"
    signal: ClassVar[str] = "principal directions of K and V"
    paper: ClassVar[str] = "Wang et al., 2024, arXiv:2409.10593"
    granularity: ClassVar[str] = "rank of K and V of a layer"
    trace_kind: ClassVar[str] = "KV channels"
    training: ClassVar[str] = "factors fitted to K and V of calibration text"
    parity: ClassVar[Parity] = "description"
    calibrated: ClassVar[bool] = True

    def calibrate(self, seen: Calibration) -> list[tuple[Tensor, Tensor]]:
        """Return the directions of K and of V of each layer."""
        return [
            (principal(_tokens(layer.step.key)), principal(_tokens(layer.step.value)))
            for layer in seen.layers
        ]

    def begin(self, batch: Batch) -> dict[int, Any]:
        """Check the budget; the state holds the directions of each layer."""
        if batch.calibration is None:
            raise InputError("cskv must be calibrated before it runs, it was not")
        self.old_share(batch.tokens)
        return dict(enumerate(batch.calibration))

    def store(self, step: CacheStep, attention: CacheAttention, state: dict[int, Any]) -> Storing:
        """Replace the tokens that leave the window by what their features expand to."""
        groups, channels = step.key.shape[1], step.key.shape[-1]
        width = self.count(self.old_share(step.prompt_tokens), channels)
        old = self.leaving(step)
        key, value = step.key.clone(), step.value.clone()
        for x, directions in zip((key, value), state[step.layer], strict=True):
            kept = directions[:, : groups * width]
            joint = x[:, :, old].transpose(1, 2).flatten(2)
            x[:, :, old] = (joint @ kept @ kept.mT).unflatten(2, (groups, channels)).transpose(1, 2)
        return Storing(key=key, value=value, key_rank=width, value_rank=width)


def _tokens(x: Tensor) -> Tensor:
    """Return (batch * token, head * channel) of (batch, head, token, channel)."""
    return x.transpose(1, 2).flatten(2).flatten(0, 1)
