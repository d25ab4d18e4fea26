"""From a compressed Llama in torch to the arrays that the integer decoder takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.attention.sink_window import SinkWindow
    from sim.machines.accllm_golden import DecoderWeights
    from workloads.models import LoadedModel
    from workloads.packed import PackedMatrix

_MODULES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""Operator -> module of a Llama's block."""


def decoder_weights(loaded: LoadedModel, packed: Mapping[str, PackedMatrix]) -> DecoderWeights:
    """Return the weights of a compressed Llama as the integer decoder takes them.

    Args:
        loaded: the model; its linear layers are not read.
        packed: module name, as `model.layers.0.self_attn.q_proj`, -> compressed matrix.

    Raises:
        InputError: the model is no Llama, or a matrix is missing.
    """
    from sim.machines.accllm_golden import DecoderWeights

    model, config = loaded.model, loaded.model.config
    if config.model_type != "llama":
        raise InputError(f"the integer decoder takes a llama model, not {config.model_type}")
    blocks = model.model.layers
    names = [
        f"model.layers.{layer}.{part}" for layer in range(len(blocks)) for part in _MODULES.values()
    ]
    missing = [name for name in names if name not in packed]
    if missing:
        raise InputError(f"{missing[0]} must be compressed, it is not")
    return DecoderWeights(
        shape=loaded.shape,
        embedding=_array(model.get_input_embeddings().weight),
        matrices=tuple(
            {
                operator: packed[f"model.layers.{layer}.{part}"]
                for operator, part in _MODULES.items()
            }
            for layer in range(len(blocks))
        ),
        attention_norm=np.stack([_array(block.input_layernorm.weight) for block in blocks]),
        feed_forward_norm=np.stack(
            [_array(block.post_attention_layernorm.weight) for block in blocks]
        ),
        last_norm=_array(model.model.norm.weight),
        head=_array(model.get_output_embeddings().weight),
        epsilon=config.rms_norm_eps,
        theta=_theta(config),
    )


def compare_passes(
    loaded: LoadedModel,
    packed: Mapping[str, PackedMatrix],
    tokens: np.ndarray[Any, Any],
    window: SinkWindow,
) -> dict[str, float]:
    """Run a text through the compressed model twice: in torch, and in the engine's integers.

    Args:
        loaded: the model before compression; it stays as it is.
        packed: its compressed matrices by module name.
        tokens: (tokens,) ids of one text, at least 2.
        window: sinks and recent tokens.

    Returns:
        `tokens`; `torch_nats` and `integer_nats`, the mean loss a token; `same_top1`, the share of
        tokens behind which both expect the same next one.

    Raises:
        InputError: see `decoder_weights`.
    """
    import torch

    from algos.compress import set_weights
    from algos.low_bit import low_bit
    from sim.machines.accllm_golden import GoldenDecoder

    weights = decoder_weights(loaded, packed)
    own = replace(loaded, model=copy.deepcopy(loaded.model))
    set_weights(own.model, packed)
    ids = torch.from_numpy(np.asarray(tokens, np.int64))
    with torch.inference_mode(), low_bit(own, window=window):
        fast = own.model(input_ids=ids[None], use_cache=False).logits[0].double().numpy()
    golden = GoldenDecoder(weights, sinks=window.sinks, recent=window.recent)
    exact = golden.logits(ids.tolist())
    return {
        "tokens": len(ids),
        "torch_nats": _nats(fast, ids.numpy()),
        "integer_nats": _nats(exact, ids.numpy()),
        "same_top1": float((fast.argmax(1) == exact.argmax(1)).mean()),
    }


def _nats(logits: np.ndarray[Any, Any], ids: np.ndarray[Any, Any]) -> float:
    """Return the mean loss of predicting each token but the first."""
    below = logits[:-1] - logits[:-1].max(1, keepdims=True)
    logs = below - np.log(np.exp(below).sum(1, keepdims=True))
    return float(-logs[np.arange(len(logs)), ids[1:]].mean())


def _theta(config: Any) -> float:
    parameters = getattr(config, "rope_parameters", None) or {}
    return float(parameters.get("rope_theta", None) or config.rope_theta)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.detach().float().numpy()
    return array
