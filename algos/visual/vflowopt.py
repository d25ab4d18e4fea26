"""VFlowOpt: attention of the queries that matter plus the entropy of a patch; the rest recycled.

Yang et al., ICCV 2025, arXiv:2508.05211.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity, Ratio
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.ranking import EncoderLayer, finite, layer_of
from algos.visual.recycling import keep_and_recycle
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

GREYS = 256  # an 8-bit histogram
CHANNEL_WEIGHT = 0.3333  # of red, green and blue in grey (the authors' program)


class VFlowOpt(VisualMethod):
    """Keep the most important visual tokens and recycle the others, one to each cell.

    The paper fits threshold, cell, entropy weight and ratio to a model; the defaults are its fit
    for a tenth of the tokens. The cut before the language model is here; the paper drops more
    tokens by the same scores in two of its layers.
    """

    name: ClassVar[str] = "vflowopt"
    signal: ClassVar[str] = "attention from attended queries; entropy of a patch's grey levels"
    paper: ClassVar[str] = "Yang et al., ICCV 2025, arXiv:2508.05211"
    training: ClassVar[str] = "Bayesian optimisation of its parameters; the paper's values are used"
    parity: ClassVar[Parity] = "authors"
    trace_kind: ClassVar[str] = "merge map"

    keep_ratio: Ratio = 0.1166
    """Visual tokens left, recycled ones included, rounded down, at least 1."""
    threshold: Annotated[float, Field(ge=0)] = 39.26
    """Queries count that receive more than this times the mean attention; all if none does."""
    entropy_weight: Annotated[float, Field(ge=0)] = 0.0
    """Of a patch's share by entropy; 1 is as much as all attention."""
    cell: Ratio = 17.39 / 27
    """Side of a recycling cell as a share of the image's longer side, in whole patches."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose attention is read."""
    compat: Literal["paper", "authors"] = "paper"
    """"authors": grey levels outside 0..255 wrap around instead of being scaled."""

    def select(self, seen: VisualInput) -> Selected:
        """Score the patches, keep the best, recycle the rest."""
        attention = layer_of(seen.attention, self.layer)[:, :, 1:, 1:]
        entropy = patch_entropy(seen.pixels, seen.grid, self.compat)
        score = importance(attention, entropy, self.threshold, self.entropy_weight)
        cell = max(1, round(self.cell * max(seen.grid)))
        kept, merge = keep_and_recycle(score, seen.grid, self.kept(score.shape[1]), cell)
        return Selected(kept=kept, merge=merge)


def patch_entropy(
    pixels: Tensor, grid: tuple[int, int], compat: Literal["paper", "authors"] = "paper"
) -> Tensor:
    """Return the entropy in bits of the grey levels of each patch, (batch, N).

    Args:
        pixels: (batch, channel, H, W), whole patches.
        grid: rows and columns of patches.
        compat: "paper": an image's smallest value becomes 0 and its largest 255. "authors":
            value 1 is 255 and what is outside 0..1 wraps around, as in 8-bit integers.

    Raises:
        InputError: the image is no whole number of patches high or wide.
    """
    import torch

    batch, channels, height, width = finite(pixels, "pixels").shape
    rows, columns = grid
    if height % rows or width % columns:
        raise InputError(
            f"an image of {rows} x {columns} patches must be a multiple of that, "
            f"not {height} x {width} pixels"
        )
    if compat == "paper":
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
        pixels = (pixels - low) / (high - low).clamp_min(1e-30)
    # in `paper` nothing is outside 0..255 and can wrap
    levels = (pixels * (GREYS - 1)).trunc().remainder(GREYS)
    weight = CHANNEL_WEIGHT if channels == 3 else 1 / channels
    grey = (levels * weight).sum(1).round().long()
    split = grey.view(batch, rows, height // rows, columns, width // columns)
    patches = split.transpose(2, 3).reshape(batch * rows * columns, -1)
    count = torch.zeros(len(patches), GREYS).scatter_add_(1, patches, torch.ones(patches.shape))
    entropy: Tensor = torch.special.entr(count / patches.shape[1]).sum(1)
    return entropy.view(batch, -1) / math.log(2)


def importance(
    attention: Tensor, entropy: Tensor, threshold: float = 1.0, entropy_weight: float = 0.0
) -> Tensor:
    """Return the importance of each patch, (batch, N).

    The attention it receives, mean over heads, from the queries that themselves receive more
    than `threshold` times the mean (from all if none does), plus a share by entropy.

    Args:
        attention: (batch, head, N, N) probabilities among patches.
        entropy: (batch, N) bits.
        threshold: times the mean attention received.
        entropy_weight: of the softmax of entropy over the image.
    """
    mean = finite(attention, "attention").mean(1)
    received = mean.mean(1)
    asks = received > threshold * received.mean(1, keepdim=True)
    asks = asks | ~asks.any(1, keepdim=True)
    relevance = (mean * asks[:, :, None]).sum(1) / asks.sum(1, keepdim=True)
    return relevance + entropy_weight * entropy.softmax(1)
