"""The matrices of a model's blocks: what is pruned and quantised.

The language-model head, embeddings and norms are not among them. A weight is (outputs, inputs)
here, whatever the model holds: GPT-2's `Conv1D` holds it the other way round, with queries, keys
and values in one, and a mixture holds all its experts in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads.capture import find_blocks
from workloads.errors import InputError
from workloads.models import DECODER_FAMILIES

if TYPE_CHECKING:
    from torch import Tensor

# operator -> how the names of its module end, in the families BERT, GPT-2, Llama, Mixtral, OPT,
# Qwen2 and ViT; of two that fit, the longer is meant
_ENDINGS = {
    "query": ("q_proj", "self.query", "attention.query"),
    "key": ("k_proj", "self.key", "attention.key"),
    "value": ("v_proj", "self.value", "attention.value"),
    "query key value": ("c_attn",),
    "output": ("o_proj", "out_proj", "attn.c_proj", "attention.output.dense"),
    "up": ("up_proj", "fc1", "c_fc", "intermediate.dense"),
    "gate": ("gate_proj",),
    "down": ("down_proj", "fc2", "mlp.c_proj", "output.dense"),
    "router": ("mlp.gate",),
    "experts": ("mlp.experts",),
}
_ALWAYS = frozenset({"query", "key", "value", "output"})


@dataclass(frozen=True)
class Slot:
    """The place of one matrix in a model."""

    layer: int
    operator: str  # query, key, value, output, up, gate, down or router
    module: Any  # whose input is the matrix's
    parameter: str = "weight"  # name in the module
    expert: int = -1  # first index of the parameter; -1: the matrix is in no mixture
    rows: tuple[int, int] | None = None  # outputs of the stored matrix that are this one's
    transposed: bool = False  # stored as (inputs, outputs)

    @property
    def name(self) -> str:
        """Return what tells it from the block's other matrices: "up", or "up.3" of expert 3."""
        return self.operator if self.expert < 0 else f"{self.operator}.{self.expert}"

    @property
    def stored(self) -> Any:
        """Return the whole parameter."""
        return getattr(self.module, self.parameter)

    def of(self, stored: Tensor) -> Tensor:
        """Return the (outputs, inputs) view of this matrix in a tensor of the parameter's shape."""
        part = stored if self.expert < 0 else stored[self.expert]
        part = part.T if self.transposed else part
        return part if self.rows is None else part[slice(*self.rows)]

    @property
    def weight(self) -> Tensor:
        """Return the (outputs, inputs) view of the weight: writing to it changes the model."""
        return self.of(self.stored.detach())

    @property
    def bias(self) -> Tensor | None:
        """Return the (outputs,) view of the bias, None if there is none."""
        bias = getattr(self.module, "bias", None)
        if bias is None:
            return None
        whole: Tensor = bias.detach()
        return whole if self.rows is None else whole[slice(*self.rows)]


def block_slots(model: Any) -> list[dict[str, Slot]]:
    """Return for each block of a model its matrices by the name of their slot.

    Raises:
        InputError: a matrix of a block is not one that is known, or a block lacks one.
    """
    return [_slots(layer, block) for layer, block in enumerate(find_blocks(model))]


def _slots(layer: int, block: Any) -> dict[str, Slot]:
    slots: list[Slot] = []
    for name, module in block.named_modules():
        if getattr(getattr(module, "weight", None), "ndim", 0) != 2 and "experts" not in name:
            continue
        if name.endswith("experts.act_fn"):
            continue
        slots += _slots_of(layer, _operator(layer, name), module)
    found = {slot.name: slot for slot in slots}
    feeds = {slot.operator for slot in slots}
    missing = sorted((_ALWAYS | {"up", "down"}) - feeds)
    if missing:
        raise InputError(f"block {layer} must have a matrix {missing[0]}, it has none")
    return found


def _operator(layer: int, name: str) -> str:
    fits = [
        (len(ending), operator)
        for operator, endings in _ENDINGS.items()
        for ending in endings
        if name == ending or name.endswith("." + ending)
    ]
    if not fits:
        raise InputError(f"block {layer}: every matrix must be a known one, {name} is not")
    return max(fits)[1]


def _slots_of(layer: int, operator: str, module: Any) -> list[Slot]:
    if operator == "experts":
        return _experts(layer, module)
    transposed = type(module).__name__ == "Conv1D"
    parts = operator.split()
    if len(parts) == 1:
        return [Slot(layer, operator, module, transposed=transposed)]
    width = module.weight.shape[1 if transposed else 0] // len(parts)
    return [
        Slot(layer, part, module, rows=(i * width, (i + 1) * width), transposed=transposed)
        for i, part in enumerate(parts)
    ]


def _experts(layer: int, module: Any) -> list[Slot]:
    if not hasattr(module, "gate_up_proj"):
        raise InputError(f"block {layer} must hold its experts in one tensor, it does not")
    slots = []
    for expert in range(module.num_experts):
        width = module.gate_up_proj.shape[1] // 2
        for operator, rows in (("gate", (0, width)), ("up", (width, 2 * width))):
            slots.append(Slot(layer, operator, module, "gate_up_proj", expert, rows))
        slots.append(Slot(layer, "down", module, "down_proj", expert))
    return slots


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
