"""A figure of a reproduction, before it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plan(NamedTuple):
    """What a figure shows and says; `draw` is called once."""

    name: str  # of its files
    title: str
    takeaway: str
    caption: str
    draw: Callable[[], Figure]
