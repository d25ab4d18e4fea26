"""What happens inside an attached model: transformers' calls become calls of a handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from workloads.attention import AttentionOutput, dense_attention, visible_mask
from workloads.errors import InputError
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

IMPLEMENTATION = "prunesim"  # name of our attention implementation inside transformers
MARK = "_prunesim_place"  # attribute of every module inside an attached model's blocks


@dataclass(frozen=True, kw_only=True)
class LayerInput:
    """Hidden states before a transformer block, and which tokens they belong to."""

    layer: int
    step: int  # 0: prefill or encoder pass; n: n-th generated token
    hidden: Tensor  # (batch, tokens, hidden)
    token_ids: Tensor  # (batch, tokens) positions in the unpruned sequence
    tokens_dense: int  # tokens of the unpruned sequence so far
    look_ahead: Callable[[LayerInput], Glimpse]  # what the block would attend to of some input

    def keep(self, ordinals: Tensor) -> LayerInput:
        """Return the input with only some tokens. `ordinals` (batch, kept) index `token_ids`."""
        rows = ordinals.unsqueeze(-1).expand(-1, -1, self.hidden.shape[-1])
        return replace(
            self, hidden=self.hidden.gather(1, rows), token_ids=self.token_ids.gather(1, ordinals)
        )


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """What a block would compute of its input, up to its attention."""

    step: AttentionStep
    probability: Tensor  # (batch, head, query, key)


class AttentionHandler(Protocol):
    """What `attached` calls while the model runs."""

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Return what enters the block: `entry` itself, or one with fewer tokens."""
        ...

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Compute the attention of one layer."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a forward pass is, and which tokens it still has."""

    layer: int
    step: int
    past: int  # tokens in the cache before this pass
    ids: Tensor  # (batch, tokens) positions in the unpruned sequence
    tokens_dense: int


class Session:
    """One attachment: follows the tokens from block to block of the running forward pass."""

    def __init__(self, handler: AttentionHandler, family: str) -> None:
        self.handler = handler
        self._family = family
        self._step = 0
        self._past = 0  # tokens in the cache before this pass
        self._resumed = 0  # tokens that the handler's own cache stands for
        self._tokens = 0  # tokens of this pass before any was dropped
        self._ids: Any = None  # (batch, tokens) positions of the current block's tokens
        self.rotary: Any = None  # the model's rotary embedding; None: it has none
        self.glimpsing = False  # a block runs only to see what it would attend to

    def resume(self, past: int) -> None:
        """Say that the next pass follows `past` tokens, whose K and V the handler keeps.

        The model then gets `use_cache=False` and the `position_ids` of the new tokens.
        """
        self._resumed = past

    def hook(self, layer: int) -> Any:
        """Return the forward pre-hook of one block."""

        def before_block(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            hidden = args[0] if args else kwargs["hidden_states"]

            def look_ahead(entry: LayerInput) -> Glimpse:
                return self._glimpse(module, entry, args, kwargs)

            caches = [v for v in (*args, *kwargs.values()) if hasattr(v, "get_seq_length")]
            if layer == 0:
                self._begin_pass(hidden, int(caches[0].get_seq_length()) if caches else 0)
            entry = LayerInput(
                layer=layer,
                step=self._step,
                hidden=hidden,
                token_ids=self._ids,
                tokens_dense=self._past + self._tokens,
                look_ahead=look_ahead,
            )
            left = self.handler.enter_layer(entry)
            self._ids = left.token_ids
            if self._ids.shape[1] != self._tokens:
                self._require_droppable(bool(caches))
                kwargs = kwargs | self._positions(kwargs)
            if args:
                return (left.hidden, *args[1:]), kwargs
            return args, kwargs | {"hidden_states": left.hidden}

        return before_block

    def _glimpse(
        self, block: Any, entry: LayerInput, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Glimpse:
        """Run a block on an input until it attends."""
        before, self._ids, self.glimpsing = self._ids, entry.token_ids, True
        if entry.token_ids.shape[1] != self._tokens:
            kwargs = kwargs | self._positions(kwargs)
        try:
            if args:
                block.forward(entry.hidden, *args[1:], **kwargs)
            else:
                block.forward(**kwargs | {"hidden_states": entry.hidden})
        except _Glimpsed as seen:
            probability = dense_attention(seen.step).probability
            return Glimpse(step=seen.step, probability=probability)
        finally:
            self._ids, self.glimpsing = before, False
        raise InputError(f"block {entry.layer} must have an attention to look at, it ran without")

    def place(self, layer: int) -> _Place:
        """Return where the running pass is."""
        return _Place(
            layer=layer,
            step=self._step,
            past=self._past,
            ids=self._ids,
            tokens_dense=self._past + self._tokens,
        )

    def _begin_pass(self, hidden: Tensor, past: int) -> None:
        import torch

        past = past or self._resumed
        self._past, self._tokens, self._resumed = past, hidden.shape[1], 0
        self._step = self._step + 1 if past else 0
        ids = torch.arange(past, past + self._tokens, device=hidden.device)
        self._ids = ids.expand(len(hidden), -1)

    def _require_droppable(self, cached: bool) -> None:
        if cached:
            raise InputError(
                "tokens must be dropped in a pass without a cache (use_cache=False), this has one"
            )
        if self._family == "gpt2":
            raise InputError(
                "a model that drops tokens must accept fewer than its input has, GPT-2 does not"
            )

    def _positions(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the rotary tables and position ids of the tokens that are left."""
        changed: dict[str, Any] = {}
        if self._past:  # tokens from before this pass came back: the pass has no tables of them
            changed["attention_mask"] = None
            if kwargs.get("position_embeddings") is not None:
                table = kwargs["position_embeddings"][0]
                changed["position_embeddings"] = self.rotary(table, position_ids=self._ids)
            return changed
        if kwargs.get("position_embeddings") is not None:
            changed["position_embeddings"] = tuple(
                table.expand(len(self._ids), -1, -1).gather(
                    1, self._ids.unsqueeze(-1).expand(-1, -1, table.shape[-1])
                )
                for table in kwargs["position_embeddings"]
            )
        if kwargs.get("position_ids") is not None:
            positions = kwargs["position_ids"].expand(len(self._ids), -1)
            changed["position_ids"] = positions.gather(1, self._ids)
        return changed


class _Glimpsed(Exception):
    """Ends a block that runs only to see what it would attend to."""

    def __init__(self, step: AttentionStep) -> None:
        super().__init__("seen")
        self.step = step


def attention_function(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Compute what transformers asks for: (batch, query, head, channel) and the probabilities.

    A module without a mark belongs to a model that shares its configuration object with an
    attached one; it gets plain attention.
    """
    session, layer = getattr(module, MARK, (None, 0))
    place = _plain_place(query, key) if session is None else session.place(layer)
    step = _step(
        place,
        (query, key, value),
        attention_mask,
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        bool(getattr(module, "is_causal", False)),
    )
    if session is not None and session.glimpsing:
        raise _Glimpsed(step)
    result = dense_attention(step) if session is None else session.handler.attend(step)
    return result.output.transpose(1, 2).contiguous(), result.probability


def register() -> None:
    """Make the attention implementation known to transformers under its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(IMPLEMENTATION, attention_function)
    # an implementation without a mask function of its own is given no mask at all
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)


def _plain_place(query: Tensor, key: Tensor) -> _Place:
    import torch

    past = key.shape[2] - query.shape[2]
    ids = torch.arange(past, key.shape[2], device=query.device).expand(len(query), -1)
    return _Place(layer=0, step=0, past=past, ids=ids, tokens_dense=key.shape[2])


def _step(place: _Place, tensors: Any, mask: Any, scale: float, causal: bool) -> AttentionStep:
    import torch

    query, key, value = tensors
    key_ids = place.ids
    if key.shape[2] > key_ids.shape[1]:  # transformers' own cache holds the tokens before
        past = torch.arange(place.past, device=query.device).expand(len(query), -1)
        key_ids = torch.cat((past, place.ids), 1)
    return AttentionStep(
        layer=place.layer,
        step=place.step,
        query=query,
        key=key,
        value=value,
        scale=scale,
        mask=visible_mask(mask, causal, place.ids, key_ids, query.dtype),
        query_ids=place.ids,
        key_ids=key_ids,
        tokens_dense=place.tokens_dense,
    )
