"""Scores of visual tokens and their best k: what most selections share.

Everything is batch first. Of equal scores the token that comes first in the image wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from algos.selection import best_first
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

EncoderLayer = Annotated[int, Field(le=-1)]
"""A layer of the vision encoder, counted from the last, which is -1. By default -2: LLaVA-1.5 takes
its features behind that one, and the methods read its attention."""


def finite(values: Tensor, what: str) -> Tensor:
    """Return `values` (batch, ...) unchanged if all are numbers.

    Raises:
        InputError: with the image, the place and the value of the first that is not finite.
    """
    good = values.isfinite()
    if bool(good.all()):
        return values
    image, *place = (int(i) for i in (~good).nonzero()[0])
    raise InputError(
        f"every value of {what} must be finite, in image {image} that at "
        f"{', '.join(map(str, place))} is {values[image, *place].item()}"
    )


def layer_of(layers: Sequence[Tensor], index: int, what: str = "attention") -> Tensor:
    """Return a layer of the vision encoder; negative indices count from the last.

    Raises:
        InputError: the encoder has fewer layers.
    """
    if not -len(layers) <= index < len(layers):
        raise InputError(
            f"{what} is taken from layer {index} of the vision encoder, it must have at least "
            f"{index + 1 if index >= 0 else -index} layers, not {len(layers)}"
        )
    return layers[index]


def class_attention(attention: Tensor) -> Tensor:
    """Return the attention that the class token pays to each patch, mean over heads, (batch, N).

    Args:
        attention: (batch, head, 1 + N, 1 + N) probabilities, the class token first.
    """
    return finite(attention[:, :, 0, 1:].mean(1), "class attention")


def received_attention(attention: Tensor) -> Tensor:
    """Return the attention that each patch receives, mean over heads and queries, (batch, N).

    The class token asks like any other; what it receives is left out.

    Args:
        attention: (batch, head, 1 + N, 1 + N) probabilities, the class token first.
    """
    return finite(attention.mean((1, 2))[:, 1:], "received attention")


def unit_range(score: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Return each row of (batch, N) moved to 0 and scaled by its range + epsilon."""
    low, high = score.amin(1, keepdim=True), score.amax(1, keepdim=True)
    return (score - low) / (high - low + epsilon)


def top_ids(score: Tensor, k: int) -> Tensor:
    """Return the k best of each row of (batch, N) as ascending ids (batch, k)."""
    return best_first(score, k).sort(1).values
