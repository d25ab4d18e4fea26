"""`prunesim kernels break-even`: curves of measured times, or of modelled ones where none are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from algos.kernels import KERNELS
from algos.kernels.inspection import check_names
from reports.console import print_json, print_line
from reports.gpu import measured
from reports.gpu.break_even import Curve, curves, told
from reports.gpu.modelled import available, modelled_curves
from workloads.errors import InputError

_KINDS = (".svg", ".png")


def run_break_even(names: Sequence[str], device: str, out: Path | None) -> list[Curve]:
    """Return the curves of kernels on a device, and draw them if wanted.

    A curve that was measured there stands; what was not measured is modelled.

    Raises:
        InputError: an unknown kernel, no such device, or no curve at all.
    """
    check_names(names)
    if out is not None and out.suffix not in _KINDS:
        raise InputError(f"figure must be a file of {' or '.join(_KINDS)}, not {out}")
    wanted = [*names] or [*KERNELS]
    rows = measured.measured_rows(measured.GPU)
    own = [curve for curve in curves(rows) if curve.source == f"measured:{device}"]
    found = [curve for curve in own if curve.kernel in wanted]
    known = {(curve.kernel, curve.shape) for curve in found}
    modelled = modelled_curves(wanted, device)
    found += [curve for curve in modelled if (curve.kernel, curve.shape) not in known]
    if not found:
        why = "" if available() else ", and there is no cost model"
        raise InputError(
            f"break-even must have a sparse kernel with times on {device}, "
            f"{', '.join(wanted)}: nothing was measured{why}"
        )
    if out is not None:
        from reports.figures.style import save
        from reports.gpu.break_even_figure import draw_break_even

        save(draw_break_even(found), out)
    return found


def show_break_even(found: Sequence[Curve], out: Path | None, *, as_json: bool) -> None:
    """Print a sentence for each curve."""
    if as_json:
        print_json([told(curve) for curve in found])
        return
    for curve in found:
        print_line(curve.sentence)
    if out is not None:
        print_line(f"figure: {out}")
