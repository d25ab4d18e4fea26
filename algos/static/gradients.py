"""Gradients of the calibration loss, by matrices and by what enters them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algos.linears import Slot
from algos.static.base import Gradients
from algos.static.calibrate import Calibration, Inputs, captured_all
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TAPPED = ("output", "down")  # whose inputs get gradients: what heads and neurons put out


@dataclass(frozen=True, kw_only=True)
class ModelGradients:
    """Gradients of one model, an entry for each block."""

    matrices: list[dict[str, Gradients]]
    inputs: list[Inputs]  # of `output` and `down`, not of experts


class _Sums:
    """Gradients by one parameter."""

    def __init__(self, parameter: Tensor) -> None:
        self.total = parameter.detach() * 0
        self.total_abs, self.total_square = self.total.clone(), self.total.clone()
        self.samples: list[Tensor] = []

    def add(self, gradient: Tensor, each: bool) -> None:
        self.total += gradient
        self.total_abs += gradient.abs()
        self.total_square += gradient.square()
        if each:
            self.samples.append(gradient)

    def of(self, slot: Slot) -> Gradients:
        return Gradients(
            total=slot.of(self.total),
            total_abs=slot.of(self.total_abs),
            total_square=slot.of(self.total_square),
            samples=tuple(slot.of(gradient) for gradient in self.samples),
        )


def gradients(
    model: Any, calibration: Calibration, slots: Sequence[Mapping[str, Slot]], *, each: bool
) -> ModelGradients:
    """Return gradients of the loss of each calibration sample.

    Args:
        model: whose parameters require gradients.
        calibration: samples and their loss.
        slots: the matrices of all blocks.
        each: keep the gradient of each sample beside the sums.

    Raises:
        InputError: a gradient is not finite, naming the sample.
    """
    import torch

    tapped = [{name: block[name] for name in TAPPED if name in block} for block in slots]
    stored = list({id(s.stored): s.stored for block in slots for s in block.values()}.values())
    sums = {id(p): _Sums(p) for p in stored}
    by_input: list[dict[str, list[Tensor]]] = [{name: [] for name in block} for block in tapped]
    for number, sample in enumerate(calibration.samples):
        with torch.enable_grad(), captured_all(tapped) as entered:
            loss = calibration.loss(calibration.read(model(**sample)), number)
            taps = [entered[i][name][-1] for i, block in enumerate(tapped) for name in block]
            found = torch.autograd.grad(loss, [*stored, *taps], materialize_grads=True)
        if not all(bool(gradient.isfinite().all()) for gradient in found):
            raise InputError(
                f"gradients of calibration sample {number} must be finite, some are not"
            )
        for parameter, gradient in zip(stored, found[: len(stored)], strict=True):
            sums[id(parameter)].add(gradient, each)
        rest = (x.reshape(-1, x.shape[-1]) for x in found[len(stored) :])
        for block in by_input:
            for samples in block.values():
                samples.append(next(rest))
    return ModelGradients(
        matrices=[{n: sums[id(s.stored)].of(s) for n, s in block.items()} for block in slots],
        inputs=[{name: tuple(x) for name, x in block.items()} for block in by_input],
    )
