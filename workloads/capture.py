"""Attach to a Hugging Face model: see and replace its attention, drop tokens between blocks.

`attached(model, handler)` uses the extension point that transformers documents for this, a named
attention implementation, on one model. Nothing is patched; leaving the context restores the
model. The families tested are BERT, GPT-2, OPT, Llama, Mixtral, Qwen2 and ViT.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads.attention import AttentionOutput, dense_attention
from workloads.errors import InputError
from workloads.session import IMPLEMENTATION, MARK, AttentionHandler, LayerInput, Session, register
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CapturedLayer:
    """What one layer of one forward pass computed."""

    step: AttentionStep
    hidden: Tensor  # (batch, tokens, hidden), as it enters the block
    probability: Tensor  # (batch, head, query, key)


class Recorder:
    """A handler that leaves the model as it is and keeps what every layer computed."""

    def __init__(self) -> None:
        self.layers: list[CapturedLayer] = []
        self._hidden: Tensor | None = None

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Keep the hidden states for the layer's record."""
        self._hidden = entry.hidden
        return entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Compute dense attention and append the layer's record."""
        result = dense_attention(step)
        assert self._hidden is not None  # every block is entered before it attends
        self.layers.append(
            CapturedLayer(step=step, hidden=self._hidden, probability=result.probability)
        )
        return result


@contextmanager
def attached(model: Any, handler: AttentionHandler) -> Iterator[Session]:
    """Let `handler` compute every attention of `model` and decide which tokens enter each block.

    All sequences of a batch must have the same length: padding is not expected. Tokens can be
    dropped only in a pass that keeps no cache (`use_cache=False`), because a cache would hold
    another number of keys in each layer, and not from GPT-2, whose forward pass insists on the
    input length. A pooler of the model sees the first token that is left.

    Raises:
        InputError: no transformer blocks were found, the model has cross-attention or is
            attached already; while running: tokens are dropped where they cannot be.
    """
    blocks = find_blocks(model)
    session = Session(handler, model.config.model_type)
    rotary = [part for name, part in model.named_modules() if name.endswith("rotary_emb")]
    session.rotary = rotary[0] if rotary else None
    register()
    with ExitStack() as undo:
        undo.callback(model.set_attn_implementation, model.config._attn_implementation)
        model.set_attn_implementation(IMPLEMENTATION)
        for layer, block in enumerate(blocks):
            hook = block.register_forward_pre_hook(session.hook(layer), with_kwargs=True)
            undo.callback(hook.remove)
            for module in block.modules():
                setattr(module, MARK, (session, layer))
                undo.callback(delattr, module, MARK)
        yield session


def find_blocks(model: Any) -> list[Any]:
    """Return the transformer blocks of a Hugging Face model, in order.

    Raises:
        InputError: there are none, or the model is one that cannot be attached to.
    """
    from torch.nn import ModuleList

    config, kind = model.config, type(model).__name__
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "add_cross_attention", 0):
        raise InputError(f"the model must have no cross-attention, {kind} has")
    for module in model.modules():
        if isinstance(module, ModuleList) and 0 < len(module) == config.num_hidden_layers:
            if any(hasattr(part, MARK) for part in module.modules()):
                raise InputError(f"the model must be attached once at a time, {kind} already is")
            if all("Attention" in _class_names(block) for block in module):
                return list(module)
    raise InputError(f"the model must be a stack of transformer blocks, {kind} has none")


def _class_names(block: Any) -> str:
    return " ".join(type(part).__name__ for part in block.modules())
