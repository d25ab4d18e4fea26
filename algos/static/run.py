"""Let a static method decide: views of the dense model, then block by block."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from algos.base import Method
from algos.dense import Dense
from algos.linears import Slot, block_slots
from algos.static.apply import apply_block, pruned_copy
from algos.static.base import BlockView, LinearView, ModelView, Pruning, StaticMethod
from algos.static.calibrate import Calibration, Inputs, Passes, captured_all, flat, passing, rows_of
from algos.static.facts import StaticFacts, trace_facts
from algos.static.gradients import ModelGradients, gradients
from algos.static.probing import Prober
from workloads.capture import find_blocks
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.shapes import ModelShape

if TYPE_CHECKING:
    from torch import Tensor


def prune(
    method: StaticMethod,
    model: Any,
    shape: ModelShape,
    calibration: Calibration,
    *,
    seed: int = 0,
) -> Pruning:
    """Return what a static method removes from a model; the model stays as it is.

    Args:
        method: decides.
        model: Hugging Face model in evaluation mode, float32.
        shape: its dimensions.
        calibration: samples and their loss.
        seed: of methods that draw numbers.

    Raises:
        InputError: the model's matrices are not known; a weight, an input or a gradient is not
            finite, or whatever the method refuses.
    """
    if method.calibration_tokens is not None:
        calibration = calibration.of_tokens(method.calibration_tokens)
    view = model_view(method, model, shape, calibration, seed)
    plan = method.plan(view)
    if "block_inputs" not in method.needs:
        return Pruning(blocks=tuple(method.prune_block(block, plan) for block in view.blocks))
    work = copy.deepcopy(model)
    passes, answers = Passes(work, calibration.samples), []
    for block, slots in zip(view.blocks, block_slots(work), strict=True):
        inputs = _finite(passes.inputs(block.layer, slots), block.layer)
        linears = {n: replace(v, inputs=inputs[n]) for n, v in block.linears.items()}
        answers.append(method.prune_block(replace(block, linears=linears), plan))
        apply_block(slots, answers[-1])
        passes.advance(block.layer)
    return Pruning(blocks=tuple(answers))


def model_view(
    method: StaticMethod, model: Any, shape: ModelShape, calibration: Calibration, seed: int = 0
) -> ModelView:
    """Return the dense model as a method sees it, with what it needs and nothing else."""
    import torch

    slots, needs = block_slots(model), method.needs
    _check_weights(slots)
    inputs: Sequence[Inputs] = [{}] * len(slots)
    hidden: list[list[Tensor]] = []
    if needs & {"inputs", "hidden", "input_gradients"}:
        wanted = slots if needs & {"inputs", "input_gradients"} else [{}] * len(slots)
        inputs, hidden = _dense_pass(model, calibration, wanted)
    found = ModelGradients(matrices=[{}] * len(slots), inputs=[{}] * len(slots))
    if needs & {"gradients", "sample_gradients", "input_gradients"}:
        found = gradients(model, calibration, slots, each="sample_gradients" in needs)
    blocks = []
    for layer, block in enumerate(slots):
        linears = {
            name: LinearView(
                layer=layer,
                operator=slot.operator,
                expert=slot.expert,
                weight=slot.weight.clone(),
                bias=None if slot.bias is None else slot.bias.clone(),
                inputs=inputs[layer].get(name),
                gradients=found.matrices[layer].get(name),
                input_gradients=found.inputs[layer].get(name),
            )
            for name, slot in block.items()
        }
        blocks.append(
            BlockView(
                layer=layer,
                shape=shape,
                experts=sum(
                    slot.operator == "down" and slot.expert >= 0 for slot in block.values()
                ),
                linears=linears,
                entered=tuple(hidden[layer]) if "hidden" in needs else (),
                left=tuple(hidden[layer + 1]) if "hidden" in needs else (),
            )
        )
    return ModelView(
        shape=shape,
        blocks=tuple(blocks),
        samples=len(calibration.samples),
        generator=torch.Generator().manual_seed(seed),
        probe=Prober(model, calibration),
    )


def _dense_pass(
    model: Any, calibration: Calibration, slots: Sequence[Mapping[str, Slot]]
) -> tuple[list[Inputs], list[list[Tensor]]]:
    import torch

    with torch.no_grad(), captured_all(slots) as found, passing(find_blocks(model)) as states:
        for sample in calibration.samples:
            model(**sample)
    hidden = [[*map(rows_of, samples)] for samples in states]
    return [_finite(flat(x), layer) for layer, x in enumerate(found)], hidden


def _finite(found: Inputs, layer: int) -> Inputs:
    for name, samples in found.items():
        if not all(bool(x.isfinite().all()) for x in samples):
            raise InputError(
                f"layer {layer} {name}: inputs on the calibration samples must be finite, "
                "some are not"
            )
    return found


def _check_weights(slots: Sequence[Mapping[str, Slot]]) -> None:
    for block in slots:
        for name, slot in block.items():
            if not bool(slot.weight.isfinite().all()):
                raise InputError(f"layer {slot.layer} {name}: weights must be finite, not all are")


def pruned(
    method: Method, loaded: LoadedModel, calibration: Calibration, seed: int = 0
) -> tuple[Method, LoadedModel, StaticFacts | None]:
    """Return what runs of a method: for a static one, the pruned model and plain attention.

    Args:
        method: any; only a static one prunes here.
        loaded: the unpruned model; it stays as it is.
        calibration: samples and their loss.
        seed: of methods that draw numbers.
    """
    if not isinstance(method, StaticMethod):
        return method, loaded, None
    pruning = prune(method, loaded.model, loaded.shape, calibration, seed=seed)
    work = replace(loaded, model=pruned_copy(loaded.model, pruning))
    return Dense(), work, trace_facts(loaded.model, pruning)
