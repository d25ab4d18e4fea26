"""Apply a static pruning to a model, and say what it means for hardware.

What is cut (heads, neurons, skipped sublayers) becomes zero in the matrix that reads it, which
gives the very results of a smaller matrix in every family of models; the trace gets the smaller
size. Experts are really taken out, since a router chooses among those that are there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from algos.linears import Slot, block_slots
from algos.static.base import BlockPruning, Pruning
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Undo = Callable[[Callable[[], None]], Any]  # told how to take a change back


def pruned_copy(model: Any, pruning: Pruning) -> Any:
    """Return a deep copy of a model with a pruning applied."""
    found = copy.deepcopy(model)
    for slots, block in zip(block_slots(found), pruning.blocks, strict=True):
        apply_block(slots, block)
    return found


@contextmanager
def applied(model: Any, pruning: Pruning) -> Iterator[None]:
    """Prune a model; on leaving it is what it was."""
    with ExitStack() as stack:
        for slots, block in zip(block_slots(model), pruning.blocks, strict=True):
            apply_block(slots, block, stack.callback)
        yield


def apply_block(slots: Mapping[str, Slot], block: BlockPruning, undo: Undo | None = None) -> None:
    """Change one block in place.

    Args:
        slots: its matrices.
        block: what is removed.
        undo: called with a function for each change, to be called later in reverse order.

    Raises:
        InputError: a mask or a matrix has another size than the block, or too few experts stay.
    """
    edit = _Edit(slots, undo)
    for name, pruned in block.weights.items():
        edit.write(name, pruned.weight)
    if block.heads is not None:
        _cut_heads(edit, block.heads)
    if block.neurons is not None:
        _cut_neurons(edit, block.neurons)
    for name, bias in block.biases.items():
        edit.add_bias(name, bias)
    for skipped, operator in ((block.skip_attention, "output"), (block.skip_ffn, "down")):
        for name, slot in slots.items():
            if skipped and slot.operator == operator:
                edit.zero(name, slot.weight != 0)
                if slot.bias is not None:
                    edit.add_bias(name, -slot.bias)
    if block.experts is not None:
        _cut_experts(edit, block.experts)


def kept_heads(slots: Mapping[str, Slot], heads: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kept channels of queries, and those of keys: a key head goes with its last query.

    Raises:
        InputError: the model's channels do not divide among so many heads.
    """
    queries, keys = len(slots["query"].weight), len(slots["key"].weight)
    if heads.ndim != 1 or queries % len(heads) or keys % (queries // len(heads)):
        raise InputError(
            f"layer {slots['query'].layer} must have as many heads as the mask, not {len(heads)}"
        )
    channels = queries // len(heads)
    key_heads = heads.view(keys // channels, -1).any(1)
    return heads.repeat_interleave(channels), key_heads.repeat_interleave(channels)


class _Edit:
    """Changes to the matrices of one block."""

    def __init__(self, slots: Mapping[str, Slot], undo: Undo | None) -> None:
        self.slots, self._undo = slots, undo
        self._saved: set[int] = set()

    def slot(self, name: str, shape: tuple[int, ...] | None = None) -> Slot:
        """Return a slot, whose matrix must have a shape."""
        if name not in self.slots:
            raise InputError(f"{self.where} must have a matrix {name} to be pruned, it has none")
        slot = self.slots[name]
        if shape is not None and slot.weight.shape != shape:
            raise InputError(
                f"{self.where} {name} must be {tuple(slot.weight.shape)}, not {tuple(shape)}"
            )
        return slot

    @property
    def where(self) -> str:
        """Return the layer for messages."""
        return f"layer {next(iter(self.slots.values())).layer}"

    def write(self, name: str, weight: Tensor) -> None:
        """Give a matrix other weights."""
        slot = self.slot(name, tuple(weight.shape))
        self._save(slot.stored)
        slot.weight.copy_(weight)

    def zero(self, name: str, gone: Tensor) -> None:
        """Set the weights to zero where `gone`, which spreads to (outputs, inputs)."""
        slot = self.slot(name)
        self._save(slot.stored)
        slot.weight.masked_fill_(gone, 0)

    def add_bias(self, name: str, bias: Tensor) -> None:
        """Add (outputs,) to a bias; a layer without one gets one."""
        from torch.nn import Parameter

        slot = self.slot(name)
        if bias.shape != slot.weight.shape[:1]:
            raise InputError(
                f"{self.where} {name} must have a bias of {len(slot.weight)}, not {len(bias)}"
            )
        if slot.bias is None:
            module = slot.module
            if slot.expert >= 0 or not hasattr(module, "in_features"):
                raise InputError(f"{self.where} {name} must be able to have a bias, it is not")
            module.bias = Parameter(bias.clone())
            self._later(lambda: setattr(module, "bias", None))
        else:
            self._save(slot.module.bias)
            slot.bias.add_(bias)

    def replace(self, module: Any, name: str, value: Any) -> None:
        """Give a module another attribute."""
        before = getattr(module, name)
        setattr(module, name, value)
        self._later(lambda: setattr(module, name, before))

    def _save(self, parameter: Any) -> None:
        if self._undo is None or id(parameter) in self._saved:
            return
        self._saved.add(id(parameter))
        before = parameter.detach().clone()
        self._later(lambda: parameter.data.copy_(before))

    def _later(self, undo: Callable[[], Any]) -> None:
        if self._undo is not None:
            self._undo(undo)


def _cut_heads(edit: _Edit, heads: Tensor) -> None:
    channels, _ = kept_heads(edit.slots, heads)
    edit.zero("output", ~channels)


def _cut_neurons(edit: _Edit, neurons: Tensor) -> None:
    down = edit.slot("down")
    if neurons.shape != down.weight.shape[1:]:
        raise InputError(
            f"{edit.where} must have as many neurons as the mask, "
            f"{down.weight.shape[1]}, not {len(neurons)}"
        )
    edit.zero("down", ~neurons)


def _cut_experts(edit: _Edit, experts: Tensor) -> None:
    import torch
    from torch.nn import Parameter

    router, down = edit.slot("router").module, edit.slot("down.0").module
    if len(experts) != down.num_experts:
        raise InputError(
            f"{edit.where} must have as many experts as the list, {down.num_experts}, "
            f"not {len(experts)}"
        )
    kept = (experts == torch.arange(len(experts))).nonzero()[:, 0]
    if len(kept) < router.top_k:
        raise InputError(
            f"{edit.where} must keep at least {router.top_k} experts, to which a token goes, "
            f"not {len(kept)}"
        )
    for module, names in ((router, ("weight",)), (down, ("gate_up_proj", "down_proj"))):
        for name in names:
            edit.replace(module, name, Parameter(getattr(module, name).detach()[kept]))
        edit.replace(module, "num_experts", len(kept))
