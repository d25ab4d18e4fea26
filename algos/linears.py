"""The linear layers of a decoder's blocks: what is pruned and quantised.

The language-model head, embeddings and norms are not among them. A weight is (outputs, inputs)
here, whatever the model holds: GPT-2's `Conv1D` holds it the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.capture import find_blocks
from workloads.errors import InputError
from workloads.models import DECODER_FAMILIES

if TYPE_CHECKING:
    from torch import Tensor


def block_linears(model: Any) -> list[dict[str, Any]]:
    """Return for each block of the model its linear layers by full name, in the model's order.

    Raises:
        InputError: the architecture is not a decoder whose layers are known.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    family = model.config.model_type
    if family not in DECODER_FAMILIES:
        raise InputError(
            f"the model must be a decoder of {', '.join(DECODER_FAMILIES)}, not {family!r}"
        )
    names = {module: name for name, module in model.named_modules()}
    return [
        {names[part]: part for part in block.modules() if isinstance(part, Linear | Conv1D)}
        for block in find_blocks(model)
    ]


def get_weight(linear: Any) -> Tensor:
    """Return a copy of the (outputs, inputs) weight of a layer."""
    weight: Tensor = linear.weight.detach()
    return (weight if hasattr(linear, "in_features") else weight.T).clone().contiguous()


def set_weight(linear: Any, weight: Tensor) -> None:
    """Give a layer another (outputs, inputs) weight."""
    linear.weight.data = weight if hasattr(linear, "in_features") else weight.T.contiguous()
