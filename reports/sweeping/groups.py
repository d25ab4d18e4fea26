"""Groups that a sweep's points are compared within: their names, their colours."""

from __future__ import annotations

from reports import words
from reports.sweeping.columns import value_text
from reports.sweeping.read import Group, SweepData

NAMED = 8  # groups that a legend names, and that have a colour and a mark of their own
MARKS = "osD^vPX*"
_APART = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933")
_RAMP = ("#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#b5c92a")


def title(data: SweepData) -> str:
    """Return what tells the groups apart: "context", "method and machine"."""
    return words.join(data.within)


def text(data: SweepData, place: int) -> str:
    """Return what a group has: "context = 512"."""
    return settings_text(data.within, data.groups[place])


def settings_text(names: list[str], group: Group) -> str:
    """Return names and values in one line."""
    return ", ".join(f"{name} = {value_text(v)}" for name, v in zip(names, group, strict=True))


def short(data: SweepData, place: int) -> str:
    """Return the values alone: "512"."""
    return ", ".join(value_text(value) for value in data.groups[place])


def have_order(data: SweepData) -> bool:
    """Tell whether groups follow one another: numbers of one name, or too many to tell apart."""
    if len(data.groups) > NAMED or len(data.within) > 1:
        return len(data.groups) > NAMED
    values = [own[0] for own in data.groups]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def colour(data: SweepData, place: int) -> str:
    """Return the colour of a group: of a ramp if they have an order, else far from the others."""
    if not have_order(data):
        return _APART[place]
    return _mixed(place / max(len(data.groups) - 1, 1))


def _mixed(share: float) -> str:
    place = share * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    ends = [[int(hexes[i : i + 2], 16) for i in (1, 3, 5)] for hexes in _RAMP[low : low + 2]]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def spread(count: int, most: int) -> list[int]:
    """Return at most so many places of `count`, the ends among them."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]
