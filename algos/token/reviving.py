"""Decode with a method whose dropped tokens may come back in a later step.

Each step starts from all tokens. A token that is dropped before a layer leaves its hidden state in
an auxiliary store of that layer; if a later step keeps it there, it is computed from that state
beside the new token, and its K and V enter the layer's cache (LazyLLM, arXiv:2407.14057).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from algos.kv.cache import LayerCache
from algos.layer_runner import LayerRunner
from algos.token.base import Between, TokenMethod
from workloads.session import LayerInput
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


class RevivingRunner(LayerRunner):
    """The handler of one sequence: what comes back differs from sequence to sequence."""

    alone: ClassVar[bool] = True
    kv_policy: ClassVar[str] = "revive"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dropped: dict[int, dict[int, Tensor]] = {}  # layer -> token -> (hidden,)
        self._alive: Any = None  # (1, token) ids that enter the running layer
        self._stored: dict[int, LayerCache] = {}

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Drop tokens, and bring back what an earlier step dropped."""
        import torch

        if entry.layer == 0:
            self._alive = torch.arange(entry.tokens_dense)[None]
        offered = self._alive
        assert isinstance(self._method, TokenMethod)
        decision = self._method.between(
            Between(
                layer=entry.layer,
                step=entry.step,
                hidden=entry.hidden,
                ids=offered,
                before=self._before,
                look_ahead=lambda: entry.look_ahead(entry),
            ),
            self._state,
        )
        if decision.kept_tokens is not None:
            self._alive = offered.gather(1, decision.kept_tokens)
        return self._exchange(entry, set(self._alive[0].tolist()))

    def _exchange(self, entry: LayerInput, alive: set[int]) -> LayerInput:
        """Return the living tokens whose K and V the layer has not, and put the others away."""
        import torch

        store = self._dropped.setdefault(entry.layer, {})
        states = dict(zip(entry.token_ids[0].tolist(), entry.hidden[0], strict=True))
        store |= {token: state for token, state in states.items() if token not in alive}
        back = [token for token in sorted(store) if token in alive]
        states |= {token: store.pop(token) for token in back}
        self._revived = len(back)
        ids = sorted(token for token in states if token in alive)
        hidden = torch.stack([states[token] for token in ids])[None]
        return replace(entry, hidden=hidden, token_ids=torch.tensor([ids]))

    def _with_cache(self, step: AttentionStep) -> AttentionStep:
        """Return the step with the keys of all living tokens, each visible from its place on."""
        import torch

        ids = step.query_ids[:, None].expand(-1, step.key.shape[1], -1)
        cache = self._stored.get(step.layer)
        fresh = LayerCache(key=step.key, value=step.value, ids=ids)
        whole = fresh if cache is None else cache.append(step.key, step.value, ids)
        self._stored[step.layer] = whole
        held = whole.ids[0, 0]
        order = held.argsort()
        order = order[torch.isin(held[order], self._alive[0])]
        key_ids = held[order][None]
        hidden = key_ids[:, None, None, :] > step.query_ids[:, None, :, None]
        mask = torch.zeros(hidden.shape).masked_fill(hidden, torch.finfo(step.query.dtype).min)
        return replace(
            step,
            key=whole.key[:, :, order],
            value=whole.value[:, :, order],
            key_ids=key_ids,
            mask=mask,
        )
