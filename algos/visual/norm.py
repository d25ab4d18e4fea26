"""Large visual tokens: what a selection must beat that looks at size alone."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.ranking import finite, top_ids


class NormVisual(VisualMethod):
    """Keep the visual tokens with the largest norm."""

    name: ClassVar[str] = "norm-visual"
    signal: ClassVar[str] = "norm of the features"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def select(self, seen: VisualInput) -> Selected:
        """Measure the features that the language model gets."""
        norm = finite(seen.features, "features").norm(dim=-1)
        return Selected(kept=top_ids(norm, self.kept(norm.shape[1])))
