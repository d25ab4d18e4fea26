"""One look for all figures: sizes, and colours that mean the same thing everywhere.

Colours come from the palettes of Okabe and Ito and of Paul Tol, which people with colour vision
deficiencies can tell apart; where two tints of one colour meet, a hatch tells them apart too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.4  # inches: as wide as the page shows it, so that 10 points stay 10 points
INK = "#22272e"
FAINT = "#6b7280"
GRID = "#e3e6ea"
_LEGEND_CHARACTERS = 110  # in one row

UNPRUNED, STUDIED, RANDOM = "#8c939c", "#0072B2", "#E69F00"
_METHODS = {"dense": UNPRUNED, "random": RANDOM}
_OTHER_METHODS = (STUDIED, "#009E73", "#CC79A7", "#D55E00")

TENSORS = {"Q": "#44AA99", "K": "#882255", "V": "#999933"}

OTHER = "other"
BUSY, IDLE = "#332288", "#dfe3e8"
MEMORY = "#D55E00"  # waiting for DRAM, energy of DRAM
_STATES = {
    "busy": BUSY,
    "wait for DRAM": MEMORY,
    "wait for LSB decision": "#AA4499",
    "blocked downstream": "#CC6677",
    "wait upstream": "#DDCC77",
    "layer boundary": "#88CCEE",
    "idle": IDLE,
}
_STALLS = ("#117733", "#661100", "#44AA99", "#999933", "#6699CC", "#AA4466", "#DDAA33")
_PARTS = (
    *("#88CCEE", "#117733", "#DDCC77", "#AA4499", "#CC6677", "#44AA99", "#999933", "#661100"),
    *("#332288", "#E69F00", "#0072B2", "#5B6470"),
)
_RC = {
    "svg.hashsalt": "prunesim",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": "#9aa1ab",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


class NothingToDraw(Exception):
    """A run has no rows for a figure; the message says which, and stands in its place."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside with the house style, whatever the user's own settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of the page's width. No window system, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure with no date and no program name in it: same rows, same bytes."""
    path.write_bytes(svg(figure) if path.suffix == ".svg" else png(figure))


def svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def method_colour(method: str, studied: Iterable[str]) -> str:
    """Return the colour of a method; `studied` are all methods of the run, in order."""
    if method in _METHODS:
        return _METHODS[method]
    others = [name for name in studied if name not in _METHODS]
    return _OTHER_METHODS[others.index(method) % len(_OTHER_METHODS)]


def state_colours(states: Iterable[str]) -> dict[str, str]:
    """Return a colour for each state of a unit; the same name has the same colour everywhere."""
    names = list(dict.fromkeys(states))
    order = [*(name for name in _STATES if name in names), *(n for n in names if n not in _STATES)]
    return _assign(order, _STATES, _STALLS)


def part_colours(components: Iterable[str]) -> dict[str, str]:
    """Return a colour for each part of the machine that spends energy."""
    return _assign(components, {"static": "#b3bac4", OTHER: "#e3c9a8"}, _PARTS)


def _assign(names: Iterable[str], fixed: dict[str, str], free: tuple[str, ...]) -> dict[str, str]:
    colours: dict[str, str] = {}
    rest = iter(free * 4)
    for name in dict.fromkeys(names):
        if name in fixed:
            colours[name] = fixed[name]
        elif "dram" in name.lower() or "memory" in name.lower():
            colours[name] = MEMORY if MEMORY not in colours.values() else lighter(MEMORY)
        else:
            colours[name] = next(rest)
    return colours


def lighter(colour: str, share: float = 0.5) -> str:
    """Mix a colour with white."""
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in _channels(colour))


def text_on(colour: str) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = _channels(colour)
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def stack(
    axes: Axes, y: float, parts: list[tuple[float, str, str | None]], *, height: float = 0.68
) -> float:
    """Draw one horizontal stacked bar of (value, colour, hatch) and return its length."""
    left = 0.0
    for value, colour, hatch in parts:
        if value > 0:
            axes.barh(
                y,
                value,
                left=left,
                height=height,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
            )
        left += value
    return left


def legend_above(figure: Figure, entries: list[tuple[str, str, str | None]]) -> None:
    """Put colour keys over the figure, in one row or two: (label, colour, hatch)."""
    from matplotlib.patches import Patch

    rows = 1 + (sum(len(label) + 6 for label, _, _ in entries) > _LEGEND_CHARACTERS)
    columns = -(-len(entries) // rows)
    by_column = [entry for first in range(columns) for entry in entries[first::columns]]
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=label)
        for label, colour, hatch in by_column
    ]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.2,
        handleheight=1.0,
        columnspacing=1.4,
        borderaxespad=0.1,
    )


def y_names(axes: Axes, names: list[str]) -> None:
    """Name horizontal bars, first on top, without tick marks."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    for shared in axes.get_shared_y_axes().get_siblings(axes):
        shared.tick_params(axis="y", length=0)
        shared.spines["left"].set_visible(False)


def scaled_axis(axes: Axes, axis: str, label: str, unit: str = "") -> None:
    """Label the ticks of an axis with decimal prefixes, as 200 k or 40 µJ, and name the axis."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    chosen = axes.xaxis if axis == "x" else axes.yaxis
    chosen.set_major_formatter(EngFormatter(unit, sep=" "))
    chosen.set_major_locator(MaxNLocator(5))
    axes.grid(True, axis="x" if axis == "x" else "y")
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(label)
