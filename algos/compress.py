"""Prune and quantise the linear layers of a decoder, block by block.

As in SparseGPT (Frantar and Alistarh, ICML 2023, section 4), a block is compressed with the
inputs that its layers get on a calibration text after all blocks before it have been compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from algos.linears import Slot, block_linears, get_weight, set_weight
from algos.quant.groupwise import quantize_weight
from algos.static.base import sum_of
from algos.static.calibrate import Passes, next_token
from algos.weight import sparsegpt
from algos.weight.joint import prune_and_quantize
from algos.weight.magnitude import magnitude_score, random_score
from algos.weight.pattern import keep_largest
from algos.weight.wanda import input_squares, wanda_score
from workloads.config import Config
from workloads.errors import InputError
from workloads.packed import PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Generator, Tensor

Criterion = Literal["sparsegpt", "wanda", "magnitude", "random"]

_STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "sparsegpt": sparsegpt.hessian_of,
    "wanda": input_squares,
}


class Compression(Config):
    """How the weights of a decoder's blocks become 2:4, and what they are stored as."""

    prune: Criterion = "sparsegpt"
    """what says which weights go: sparsegpt also adjusts the rest; random is the control"""
    weights: WeightFormat | None = WeightFormat()
    """2:4 with an integer zero point; None: pruned only, float"""
    seed: int = Field(0, ge=0)
    """of the random control"""


def compress(model: Any, calibration: Tensor, how: Compression) -> dict[str, PackedMatrix]:
    """Compress a decoder in place.

    Args:
        model: Hugging Face model; its linear layers get the compressed weights.
        calibration: (samples, tokens) token ids; `magnitude` and `random` do not read them.
        how: criterion and format.

    Returns:
        The stored matrix of each layer by name; none if weights stay float.

    Raises:
        InputError: the architecture is unknown; or a layer's inputs are no multiple of the group,
            a scale is not below 1 or an input is not finite, naming the layer.
    """
    import torch

    if how.weights is not None:
        check_sizes(model, how.weights)
    blocks = block_linears(model)
    packed: dict[str, PackedMatrix] = {}
    generator = torch.Generator().manual_seed(how.seed)
    with torch.no_grad():
        passes = None
        if how.prune in _STATISTICS:
            passes = Passes(model, next_token(calibration).samples)
        for number, linears in enumerate(blocks):
            statistics = _statistics(passes, number, linears, how.prune) if passes else {}
            for name, linear in linears.items():
                found = _compressed(get_weight(linear), statistics.get(name), how, name, generator)
                if isinstance(found, PackedMatrix):
                    packed[name] = found
                    found = torch.from_numpy(found.weights())
                set_weight(linear, found)
            if passes:
                passes.advance(number)
    return packed


def _statistics(
    passes: Passes, number: int, linears: Mapping[str, Any], prune: str
) -> dict[str, Tensor]:
    """Return the statistic of the inputs of each layer, the mean over samples."""
    found: dict[str, Tensor] = {}
    latest: tuple[Any, Any] = (None, None)  # inputs and statistic: q, k and v share theirs
    slots = {name: Slot(number, name, linear) for name, linear in linears.items()}
    for name, samples in passes.inputs(number, slots).items():
        if latest[0] is None or not all(x is y for x, y in zip(latest[0], samples, strict=True)):
            total = sum_of(_STATISTICS[prune](x[None]) for x in samples)
            latest = samples, total / len(samples)
        found[name] = latest[1]
    return found


def check_sizes(model: Any, form: WeightFormat) -> None:
    """Refuse a model before work is spent on it.

    Raises:
        InputError: the architecture is unknown, or a layer's inputs do not fill groups.
    """
    for linears in block_linears(model):
        for name, linear in linears.items():
            form.group_inputs(get_weight(linear).shape[1], name)


def set_weights(model: Any, packed: Mapping[str, PackedMatrix]) -> None:
    """Give a decoder the weights of stored matrices.

    Raises:
        InputError: a layer of the model's blocks has no matrix, or one of another size.
    """
    import torch

    for linears in block_linears(model):
        for name, linear in linears.items():
            if name not in packed:
                raise InputError(f"{name}: the packed model must have this layer, it has not")
            weight = torch.from_numpy(packed[name].weights())
            wanted = get_weight(linear).shape
            if weight.shape != wanted:
                raise InputError(
                    f"{name}: the packed layer must be {tuple(wanted)}, not {tuple(weight.shape)}"
                )
            set_weight(linear, weight)


def _compressed(
    weight: Tensor, statistic: Tensor | None, how: Compression, layer: str, generator: Generator
) -> Tensor | PackedMatrix:
    form = how.weights
    if how.prune == "sparsegpt":
        assert statistic is not None
        if form is None:
            return sparsegpt.prune(weight, statistic, layer=layer)
        return prune_and_quantize(weight, statistic, form, layer)
    if how.prune == "wanda":
        assert statistic is not None
        score = wanda_score(weight, statistic)
    elif how.prune == "magnitude":
        score = magnitude_score(weight)
    else:
        score = random_score(weight, generator)
    mask = keep_largest(score, layer=layer)
    if form is None:
        return weight * mask
    return quantize_weight(weight, form, mask, layer)
