"""HoloV: a budget for each stretch of the image, by attention and by how its tokens vary.

Zou et al., NeurIPS 2025, arXiv:2510.02912.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity, Ratio
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine
from algos.visual.padding import PADDING, padded
from algos.visual.quota import proportional, within_sizes
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION_SCALE = 1000.0  # of attention in a score (the authors' program)
VARIANCE_WEIGHT = 0.09  # of a variance scaled to the attention's size (the authors' program)


class HoloV(VisualMethod):
    """Keep the most attended visual tokens of every crop, in crops that vary more of them.

    What a crop cannot use of its budget goes to the others, so the budget is met exactly; with
    `compat="authors"` zero vectors stand for it, as in the authors' program.
    """

    name: ClassVar[str] = "holov"
    signal: ClassVar[str] = "class attention; variance of similarities inside a crop"
    paper: ClassVar[str] = "Zou et al., NeurIPS 2025, arXiv:2510.02912"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Ratio = 1 / 9
    """Visual tokens kept, rounded down, at least 1."""
    crops: Annotated[int, Field(ge=1)] = 16
    """Stretches of the sequence of visual tokens that share the budget."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention is read."""
    compat: Literal["paper", "authors"] = "paper"
    """"authors": the surplus of a small crop is lost."""

    def select(self, seen: VisualInput) -> Selected:
        """Share the budget among the crops."""
        attention = class_attention(layer_of(seen.attention, self.layer))
        n = seen.features.shape[1]
        kept = holistic(seen.features, attention, self.kept(n), self.crops, self.compat)
        return padded(kept, n) if (kept == PADDING).any() else Selected(kept=kept.sort(1).values)


def holistic(
    features: Tensor,
    attention: Tensor,
    k: int,
    crops: int = 16,
    compat: Literal["paper", "authors"] = "paper",
) -> Tensor:
    """Return k tokens of each image, crop by crop, in each the most attended first, (batch, k).

    The sequence is split into `crops` stretches of equal length (the first ones get what is
    over). A crop's share of the budget is its mean score; inside it attention alone chooses. A
    crop with more budget than tokens keeps them all and the surplus goes to the others.

    Args:
        features: (batch, N, d) as the language model gets them.
        attention: (batch, N) class attention.
        k: tokens to keep.
        crops: stretches, at most N.
        compat: "authors": the surplus is lost and -1 stands for each token missing at the end,
            where their program puts zero vectors; a crop kept whole is in order of position.
    """
    import torch

    pairs = zip(features, finite(attention, "class attention"), strict=True)
    return torch.stack([_one(*pair, k, min(crops, features.shape[1]), compat) for pair in pairs])


def crop_score(features: Tensor, attention: Tensor) -> Tensor:
    """Return the score of each token of one crop, (n,), of (n, d) and (n,).

    Scaled attention plus the variance of a token's cosines to the others of the crop, scaled to
    the same mean; the cosine to itself counts as 0 and takes part in the variance.
    """
    pairs = cosine(features[None])[0].fill_diagonal_(0)
    others = max(len(pairs) - 1, 1)
    mean = pairs.sum(1, keepdim=True) / others
    variance = (pairs - mean).square().sum(1) / others
    scaled = ATTENTION_SCALE * attention
    same = scaled.abs().mean() / variance.abs().mean().clamp_min(1e-30)
    return scaled + VARIANCE_WEIGHT * variance * same


def _one(features: Tensor, attention: Tensor, k: int, crops: int, compat: str) -> Tensor:
    import torch

    places = torch.arange(len(attention)).tensor_split(crops)
    weight = torch.stack([crop_score(features[at], attention[at]).mean() for at in places])
    if compat == "authors":
        quota = proportional(weight, k)
    else:
        quota = within_sizes(weight, [len(at) for at in places], k)
    ids = [
        at if n >= len(at) else at[best_first(attention[at], n)]
        for at, n in zip(places, quota.tolist(), strict=True)
    ]
    kept = torch.cat(ids)[:k]
    return torch.nn.functional.pad(kept, (0, k - len(kept)), value=PADDING)
