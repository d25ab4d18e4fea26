"""One file for each figure: it reads rows and draws, and simulates nothing.

Each module has `TITLE`, `CAPTION`, `draw(run) -> Figure` and `takeaway(run) -> str`, one sentence
computed from the same rows. A figure that has no rows raises `NothingToDraw` with the reason.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.run_data import RunData

FIGURES = (
    "accuracy",
    "alive",
    "units",
    "traffic",
    "energy",
    "sparsity",
    "roofline",
    "layers",
)
"""Names of the figures, in the order of the report."""


class FigureModule(Protocol):
    """What each module of this package offers."""

    TITLE: str
    CAPTION: str

    def draw(self, run: RunData) -> Figure: ...

    def takeaway(self, run: RunData) -> str: ...


def load(name: str) -> FigureModule:
    """Import one figure; matplotlib is imported only when it draws."""
    return import_module(f"reports.figures.{name}")  # type: ignore[return-value]
