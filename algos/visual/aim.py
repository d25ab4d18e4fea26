"""AIM, before the language model: similar visual tokens merge, in rounds of half of them.

Zhong et al., ICCV 2025, arXiv:2412.03248. The rounds are those of `algos.visual.matching`.
"""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.matching import in_order, match_to, mean_weights


class AIMMerge(VisualMethod):
    """Merge the visual tokens whose features are most similar until the budget is met.

    The first of AIM's two stages. Merged tokens stand in order of their first member; the authors'
    program leaves them in order of similarity.
    """

    name: ClassVar[str] = "aim-merge"
    signal: ClassVar[str] = "similarity of features"
    paper: ClassVar[str] = "Zhong et al., ICCV 2025, arXiv:2412.03248"
    parity: ClassVar[Parity] = "authors"
    trace_kind: ClassVar[str] = "merge map"

    def select(self, seen: VisualInput) -> Selected:
        """Merge by the features that the language model gets; a quarter is left by default."""
        members = match_to(seen.features, self.kept(seen.features.shape[1]))
        kept, ordered = in_order(members)
        return Selected(kept=kept, merge=mean_weights(ordered))
