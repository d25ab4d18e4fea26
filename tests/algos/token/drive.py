"""Drive token methods by hand: a stand-in for a model that returns chosen or random tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algos.base import AttentionOutcome, Batch, Decision, Layout, Method, Precision
from algos.token.base import Between, Seen, TokenMethod
from workloads.attention import dense_attention
from workloads.capture import CapturedLayer
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

HEADS, KV_HEADS, CHANNELS = 4, 2, 8
LAYOUTS = {
    "sentences": Layout(),
    "text": Layout(),
    "images": Layout(class_token=True, grid=(4, 4)),
    "questions": Layout(visual=range(2, 18), grid=(4, 4)),
}
TOKENS = {"sentences": 12, "text": 12, "images": 17, "questions": 23}


def batch_of(layout: Layout, tokens: int, layers: int = 6, size: int = 2) -> Batch:
    """Return a batch whose sequences have seeds 0, 1, 2 ..."""
    shape = ModelShape(
        name="hand",
        layers=layers,
        heads=HEADS,
        kv_heads=KV_HEADS,
        head_dim=CHANNELS,
        hidden=HEADS * CHANNELS,
        intermediate=64,
        source="none",
    )
    generators = tuple(torch.Generator().manual_seed(i) for i in range(size))
    return Batch(shape=shape, tokens=tokens, generators=generators, layout=layout)


class Model:
    """Random tensors for each layer; `fill` makes all of them one number instead."""

    def __init__(self, seed: int = 0, fill: float | None = None, causal: bool = False) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._fill, self._causal = fill, causal

    def _draw(self, *shape: int) -> Tensor:
        if self._fill is not None:
            return torch.full(shape, self._fill)
        return torch.randn(*shape, generator=self._generator)

    def captured(self, layer: int, ids: Tensor) -> CapturedLayer:
        """Return what a layer computes of the living tokens."""
        size, tokens = ids.shape
        mask = None
        if self._causal:
            hidden = ids[:, None, None, :] > ids[:, None, :, None]
            mask = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)
        step = AttentionStep(
            layer=layer,
            step=0,
            query=self._draw(size, HEADS, tokens, CHANNELS),
            key=self._draw(size, KV_HEADS, tokens, CHANNELS),
            value=self._draw(size, KV_HEADS, tokens, CHANNELS),
            scale=CHANNELS**-0.5,
            mask=mask,
            query_ids=ids,
            key_ids=ids,
            tokens_dense=tokens,
        )
        hidden_states = self._draw(size, tokens, HEADS * CHANNELS)
        probability = dense_attention(step).probability
        return CapturedLayer(step=step, hidden=hidden_states, probability=probability)

    def seen(self, layer: int, ids: Tensor) -> Seen:
        """Return the record of a block that has run."""
        captured = self.captured(layer, ids)
        wide = captured.hidden.shape
        return seen_of(
            captured.step,
            captured.probability,
            attention=(self._draw(*wide), self._draw(*wide)),
            feed_forward=(self._draw(*wide), self._draw(*wide)),
        )


def seen_of(step: Any, probability: Tensor, **modules: tuple[Tensor, Tensor]) -> Seen:
    """Return a record with these probabilities."""
    outcome = AttentionOutcome(
        output=torch.zeros(0),
        probability=probability,
        precision=Precision(q_bits=32, k_bits=32, v_bits=32),
    )
    return Seen(step=step, outcome=outcome, modules=modules)


def run(
    method: Method, batch: Batch, model: Model, state: Any = None
) -> Iterator[tuple[Between, Decision]]:
    """Yield what each block asks of a method and the answer, applying what it drops."""
    assert isinstance(method, TokenMethod)
    state = method.begin(batch) if state is None else state
    ids = torch.arange(batch.tokens).expand(batch.size, -1)
    before = None
    for layer in range(batch.shape.layers):
        ahead = model.captured(layer, ids)
        entry = Between(
            layer=layer,
            step=0,
            hidden=ahead.hidden,
            ids=ids,
            before=before,
            look_ahead=lambda ahead=ahead: ahead,  # type: ignore[misc]
        )
        decision = method.between(entry, state)
        yield entry, decision
        if decision.kept_tokens is not None:
            ids = ids.gather(1, decision.kept_tokens)
        before = model.seen(layer, ids)
