"""Attention as a W2A8KV4 engine computes it, in floating point: the fast twin of its integers.

Q has 8 bits a token and head, K and V have 4 with a scale and a zero point each, and exp(score),
with the scale of V folded in, 8 bits in blocks of 64 keys with a power of two of their own; the
sum that is divided by at the end of the row is not rounded. Multiplications of these numbers are
AccLLM's Q8 x K4 and S8 x V4 (arXiv:2505.03745).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algos.attention.sink_window import SinkWindow, rotate
from algos.quant.activations import at_8_bits
from algos.quant.kv4 import V_SCALE_LIMIT, KvCodes, quantize_kv
from workloads.attention import AttentionOutput
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.session import LayerInput
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64  # keys that share the scale of their probabilities
_SMALLEST = -100  # exponent of a block: whatever is smaller is 0 beside the rest of a row
_GROWING_ROTATIONS = ("dynamic", "longrope")  # their frequencies depend on the text's length


@dataclass(frozen=True, kw_only=True)
class LowBitAttention:
    """A handler for `attached`: every token enters every block, attention is changed."""

    integer: bool = True  # Q8, KV4 and 8-bit probabilities; False: as the model computes them
    window: SinkWindow | None = None  # None: every earlier token is seen
    inverse_frequencies: Tensor | None = None  # of the rotary embedding; None: there is none

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Keep all tokens."""
        return entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Compute one layer.

        Raises:
            InputError: Q, K or V are not finite or too large for their formats.
        """
        layer = f"attention of layer {step.layer}"
        key, value = step.key, step.value
        v_codes = None
        if self.integer:
            key = quantize_kv(key, layer).value
            v_codes = quantize_kv(value, layer, V_SCALE_LIMIT)
        repeat = step.query.shape[1] // key.shape[1]
        scores = self._scores(step, key.repeat_interleave(repeat, 1), layer)
        exponentials = scores.sub_(scores.amax(-1, keepdim=True)).exp_()
        sums = exponentials.sum(-1, keepdim=True)
        if v_codes is None:
            output = exponentials @ value.repeat_interleave(repeat, 1)
        else:
            output = _times_values(exponentials, v_codes, repeat)
        return AttentionOutput(output=output / sums, probability=exponentials / sums)

    def _scores(self, step: AttentionStep, key: Tensor, layer: str) -> Tensor:
        """Return (batch, head, query, key) scores with the mask added, a new tensor."""
        import torch

        scores = self._query(step.query, layer) @ key.transpose(2, 3)
        window = self.window
        if window is not None and self.inverse_frequencies is not None:
            ids = step.query_ids
            offset = window.sink_position(ids) - ids
            query = self._query(rotate(step.query, offset, self.inverse_frequencies), layer)
            sinks = key[:, :, : window.sinks]
            scores[..., : window.sinks] = query @ sinks.transpose(2, 3)
        scores.mul_(step.scale)  # in place: these are the largest tensors of a run
        if step.mask is not None:
            scores.add_(step.mask)
        if window is not None:
            visible = window.visible(step.query_ids, step.key_ids)[:, None]
            scores.masked_fill_(~visible, torch.finfo(scores.dtype).min)
        return scores

    def _query(self, query: Tensor, layer: str) -> Tensor:
        return at_8_bits(query, layer) if self.integer else query


def rotary_frequencies(loaded: LoadedModel) -> Tensor | None:
    """Return the inverse frequencies of a decoder's rotary embedding; None: it has none.

    Raises:
        InputError: only some channels are rotated, or the frequencies are not constant.
    """
    model: Any = loaded.model
    if loaded.model.config.model_type != "llama":
        return None
    embedding = model.model.rotary_emb
    found: Tensor = embedding.inv_freq
    if embedding.rope_type in _GROWING_ROTATIONS:
        raise InputError(
            f"the rotary embedding of {loaded.name} must have constant frequencies to cap the "
            f"distance of sinks, not those of type {embedding.rope_type!r}"
        )
    if 2 * len(found) != loaded.shape.head_dim:
        raise InputError(
            f"the rotary embedding of {loaded.name} must turn all {loaded.shape.head_dim} "
            f"channels of a head, not {2 * len(found)}"
        )
    return found


def _times_values(exponentials: Tensor, values: KvCodes, repeat: int) -> Tensor:
    """Return (batch, head, query, channel): 8-bit exp(score) * scale of V, times V's codes."""
    scale = values.scale.repeat_interleave(repeat, 1).transpose(2, 3)
    codes = (values.code - values.zero).repeat_interleave(repeat, 1)
    return blockwise_8_bits(exponentials * scale) @ codes


def blockwise_8_bits(x: Tensor) -> Tensor:
    """Return (..., key) non-negative numbers as 8 bits hold them, with one step a block of keys.

    The step is the power of two with which the largest number of a block fits: 128 to 255 steps.
    """
    import torch
    from torch.nn.functional import pad

    keys = x.shape[-1]
    filled = pad(x, (0, -keys % BLOCK)) if keys % BLOCK else x
    blocks = filled.reshape(*filled.shape[:-1], -1, BLOCK)
    exponent = torch.frexp(blocks.amax(-1, keepdim=True)).exponent  # the largest is below 2^it
    exponent = exponent.clamp(min=_SMALLEST) - 8
    step = torch.ldexp(torch.ones_like(exponent, dtype=x.dtype), exponent)
    rounded: Tensor = (blocks / step).round_().clamp_(max=255).mul_(step)
    return rounded.flatten(-2)[..., :keys]
