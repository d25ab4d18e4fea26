"""FasterVLM: the visual tokens that the class token looks at most; the plain attention baseline.

Zhang et al., arXiv:2412.01818, first version; later ones describe VisPruner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.ranking import EncoderLayer, class_attention, layer_of, top_ids

if TYPE_CHECKING:
    from torch import Tensor


class FasterVLM(VisualMethod):
    """Keep the visual tokens that the class token of the vision encoder looks at most."""

    name: ClassVar[str] = "fastervlm"
    signal: ClassVar[str] = "attention of the class token"
    paper: ClassVar[str] = "Zhang et al., arXiv:2412.01818"
    parity: ClassVar[Parity] = "hand"

    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention is read: the one whose output the
    language model gets."""

    def select(self, seen: VisualInput) -> Selected:
        """Read the attention of one layer."""
        attention = layer_of(seen.attention, self.layer)
        return Selected(kept=attended(attention, self.kept(seen.features.shape[1])))


def attended(attention: Tensor, k: int) -> Tensor:
    """Return the k patches with most class attention, mean over heads, ascending, (batch, k).

    Args:
        attention: (batch, head, 1 + N, 1 + N) of one layer, the class token first.
        k: tokens to keep.
    """
    return top_ids(class_attention(attention), k)
