"""One file for each figure of a sweep: it reads points and draws, and simulates nothing.

Each module has `TITLE`, `CAPTION`, `draw(data) -> Figure`, `takeaway(data) -> str` and
`table(data) -> DataFrame`, the numbers that it shows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from reports.sweeping.read import SweepData

FIGURES = ("front", "sensitivity", "effects", "sparsity", "units", "energy", "area")
"""Names of the figures, in the order of the page."""


class FigureModule(Protocol):
    """What each module of this package offers."""

    TITLE: str
    CAPTION: str

    def draw(self, data: SweepData) -> Figure: ...

    def takeaway(self, data: SweepData) -> str: ...

    def table(self, data: SweepData) -> pd.DataFrame: ...


def load(name: str) -> FigureModule:
    """Import one figure; matplotlib is imported only when it draws."""
    return import_module(f"reports.sweeping.figures.{name}")  # type: ignore[return-value]
