"""From a compressed Llama in torch to the arrays that the integer decoder takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import InputError

if TYPE_CHECKING:
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


def _theta(config: Any) -> float:
    parameters = getattr(config, "rope_parameters", None) or {}
    return float(parameters.get("rope_theta", None) or config.rope_theta)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.detach().float().numpy()
    return array
