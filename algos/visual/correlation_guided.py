"""Token-level correlation-guided compression: budget by repetitiveness, tokens by class attention.

Zhang et al., arXiv:2407.14439.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine
from algos.visual.quota import within_sizes
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of

if TYPE_CHECKING:
    from torch import Tensor


class CorrelationGuided(VisualMethod):
    """Keep the most attended visual tokens of each sub-image, more where patterns repeat less.

    From the description: correlation between patches gives a sub-image's information density,
    correlation with the class token its most informative tokens. The paper's sub-images are crops
    of a large document, encoded one by one, and their densities set the total; here they are
    blocks of one image and share a fixed budget. The threshold is an assumption.
    """

    name: ClassVar[str] = "correlation-guided"
    signal: ClassVar[str] = "similarity of keys; class attention"
    paper: ClassVar[str] = "Zhang et al., arXiv:2407.14439"
    parity: ClassVar[Parity] = "description"

    parts: Annotated[int, Field(ge=1)] = 2
    """Sub-images in each direction; an estimate."""
    similar: Fraction = 0.8
    """Cosine of keys above which a token repeats another; an estimate."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose keys and class attention are read."""

    def select(self, seen: VisualInput) -> Selected:
        """Measure each sub-image's density, then share the budget."""
        keys = layer_of(seen.keys, self.layer, "keys")[:, :, 1:].transpose(1, 2).flatten(2)
        attention = class_attention(layer_of(seen.attention, self.layer))
        k = self.kept(seen.features.shape[1])
        kept = densest_parts(keys, attention, seen.grid, k, self.parts, self.similar)
        return Selected(kept=kept)


def information_density(keys: Tensor, similar: float = 0.8) -> Tensor:
    """Return the share of tokens that repeat no other, (batch,), of (batch, n, d) keys.

    A token repeats another if the cosine of their keys is above `similar`.
    """
    pairs = cosine(keys) > similar
    others = pairs.sum(2) - pairs.diagonal(dim1=1, dim2=2).int()
    return (others == 0).float().mean(1)


def densest_parts(
    keys: Tensor,
    attention: Tensor,
    grid: tuple[int, int],
    k: int,
    parts: int = 2,
    similar: float = 0.8,
) -> Tensor:
    """Return k tokens of each image, ascending, (batch, k).

    The image is cut into parts x parts sub-images that share the budget in proportion to their
    information density; in each the most attended tokens are kept.

    Args:
        keys: (batch, N, d) of one layer, heads side by side.
        attention: (batch, N) class attention.
        grid: rows and columns of the image.
        k: tokens to keep.
        parts: sub-images in each direction; no more than rows or columns are made.
        similar: cosine above which a token repeats another.
    """
    import torch

    places = torch.arange(grid[0] * grid[1]).view(grid)
    blocks = [
        block.flatten()
        for band in places.tensor_split(min(parts, grid[0]))
        for block in band.tensor_split(min(parts, grid[1]), dim=1)
    ]
    sizes = [len(block) for block in blocks]
    density = torch.stack([information_density(keys[:, block], similar) for block in blocks], 1)
    kept = []
    for weight, seen in zip(density, finite(attention, "class attention"), strict=True):
        quota = within_sizes(weight, sizes, k).tolist()
        chosen = [
            block[best_first(seen[None, block], n)[0]]
            for block, n in zip(blocks, quota, strict=True)
        ]
        kept.append(torch.cat(chosen).sort().values)
    return torch.stack(kept)
