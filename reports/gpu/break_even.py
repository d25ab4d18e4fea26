"""Where sparsity begins to pay: the least share left out at which a sparse kernel is faster.

The same for measured and for modelled times; whoever draws the curve says which they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from algos.kernels.inspection import SHARES
from reports import words
from workloads.errors import InputError


@dataclass(frozen=True)
class Curve:
    """Times of a sparse kernel over the share left out, beside its dense control."""

    kernel: str
    shape: str
    control: str
    """name of the dense kernel, or of the library whose kernel is faster than that"""
    source: str
    """`measured:DEVICE` or `modelled:DEVICE`"""
    sparsity: str
    """what is left out, in words"""
    shares: tuple[float, ...]
    """rising"""
    times_ns: tuple[float, ...]
    control_ns: float

    def __post_init__(self) -> None:
        if not self.source.startswith(("measured:", "modelled:")):
            raise InputError(f"curve source must be measured: or modelled:, not {self.source!r}")
        rising = all(a < b for a, b in zip(self.shares, self.shares[1:], strict=False))
        if not self.shares or len(self.shares) != len(self.times_ns) or not rising:
            raise InputError(f"curve of {self.kernel} must have rising shares, one for each time")
        if not all(math.isfinite(t) and t > 0 for t in (*self.times_ns, self.control_ns)):
            raise InputError(f"curve of {self.kernel} must have times above 0")

    @property
    def break_even(self) -> float | None:
        """Least share from which on it is faster than the control; None: never."""
        return break_even(self.shares, self.times_ns, self.control_ns)

    @property
    def sentence(self) -> str:
        """Where it breaks even, in words."""
        what = f"{self.kernel} at {self.shape} ({self.source})"
        beside = f"{self.control} ({words.duration(self.control_ns)})"
        if self.break_even is None:
            last = f"{words.duration(self.times_ns[-1])} at {words.percent(self.shares[-1])}"
            return f"{what} is not faster than {beside} up to {last} left out"
        if self.break_even <= self.shares[0]:
            return f"{what} is faster than {beside} at every share from {self.shares[0]:.0%} on"
        return f"{what} is faster than {beside} from {words.percent(self.break_even)} on left out"


def break_even(
    shares: Sequence[float], times_ns: Sequence[float], control_ns: float
) -> float | None:
    """Return the least share from which on a kernel is faster than its control.

    Args:
        shares: rising.
        times_ns: at those shares.
        control_ns: of the dense kernel.

    Returns:
        Between the last share that is not faster and the next one, by line; the first share if it
        is faster at all of them; None if it is not at the last one.
    """
    slow = [at for at, time in enumerate(times_ns) if time >= control_ns]
    if not slow:
        return shares[0]
    at = slow[-1]
    if at == len(shares) - 1:
        return None
    above, below = times_ns[at] - control_ns, control_ns - times_ns[at + 1]
    return shares[at] + (shares[at + 1] - shares[at]) * above / (above + below)


def curve_of(
    time_ns: Callable[[float], float],
    control_ns: float,
    shares: Sequence[float] = SHARES,
    **about: str,
) -> Curve:
    """Return the curve of a function of the share, such as a cost model's."""
    times = tuple(time_ns(share) for share in shares)
    return Curve(shares=tuple(shares), times_ns=times, control_ns=control_ns, **about)


def curves(rows: Sequence[dict[str, Any]]) -> list[Curve]:
    """Return the curves that measured rows hold; a curve without its control is left out.

    Where a library's kernel stands beside the control, the faster of the two is the control.
    """
    measured = [row for row in rows if row.get("status") == "measured"]
    points: dict[tuple[str, str, str, str, str], dict[float, float]] = {}
    controls: dict[tuple[str, str, str], tuple[float, str]] = {}
    for row in measured:
        if row["share"] is None:
            name = (row["label"], row["kernel"], row["size"])
            shown = row["implementation"] if row.get("beside") else row["kernel"]
            time = row["median_ns"], shown
            controls[name] = min(time, controls.get(name, time))
        else:
            about = (row["kernel"], row["shape"], row["label"], row["control"], row["control_size"])
            points.setdefault(about, {})[row["share"]] = row["median_ns"]
    found = []
    for (kernel, shape, label, control, size), times in points.items():
        if (label, control, size) in controls:
            control_ns, shown = controls[label, control, size]
            shares = sorted(times)
            found.append(
                Curve(
                    kernel=kernel,
                    shape=shape,
                    control=shown,
                    source=label,
                    sparsity=_sparsity(kernel),
                    shares=tuple(shares),
                    times_ns=tuple(times[share] for share in shares),
                    control_ns=control_ns,
                )
            )
    return found


def told(curve: Curve) -> dict[str, Any]:
    """Return a curve as plain values, with its break-even share and a sentence."""
    return {**asdict(curve), "break_even_share": curve.break_even, "sentence": curve.sentence}


def _sparsity(kernel: str) -> str:
    from algos.kernels import KERNELS, make_kernel

    return make_kernel(kernel).sparsity if kernel in KERNELS else "share left out"
