"""Modelled times of kernels: what `sim.gpu` predicts from resources as compiled, where it is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from algos.kernels import make_kernel
from algos.kernels.inspection import SHARES
from reports.gpu.break_even import Curve
from reports.gpu.record import launches
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.kernels.base import Kernel

DEVICE = "h100"
"""What is predicted for where nothing else is asked."""


def available() -> bool:
    """Tell whether there is a cost model."""
    return find_spec("sim.gpu") is not None and find_spec("sim.gpu.model") is not None


def modelled_ns(kernel: Kernel, shape: Any, device: str = DEVICE) -> float | None:
    """Return the predicted time of a kernel in a CUDA graph; None: it cannot be predicted.

    That is so without a cost model, for programs whose resources are not recorded, and for a
    kernel that has none because a library computes it.

    Raises:
        InputError: no such device.
    """
    if not available():
        return None
    chosen = import_module("sim.gpu.devices").make_device(device)
    predict = import_module("sim.gpu.model").predict
    target = "sm_90" if chosen.architecture in ("hopper", "blackwell") else "sm_80"
    try:
        found = launches(kernel, shape, target)
    except InputError:
        return None
    return float(predict(found, chosen, graph=True).ns) if found else None


def modelled_curves(names: Sequence[str], device: str) -> list[Curve]:
    """Return predicted times over sparsity of sparse kernels at their papers' shapes.

    Raises:
        InputError: no such device.
    """
    found = []
    for name in names:
        kernel = make_kernel(name)
        if kernel.dense is None or not kernel.sparsity:
            continue
        control = make_kernel(kernel.dense)
        for label, shape in kernel.papers.items():
            control_ns = modelled_ns(control, kernel.dense_shape(shape), device)
            times = {
                share: modelled_ns(kernel, kernel.at_sparsity(shape, share), device)
                for share in SHARES
            }
            known = {share: time for share, time in times.items() if time is not None}
            if control_ns is not None and known:
                found.append(
                    Curve(
                        kernel=name,
                        shape=label,
                        control=kernel.dense,
                        source=f"modelled:{device}",
                        sparsity=kernel.sparsity,
                        shares=tuple(known),
                        times_ns=tuple(known.values()),
                        control_ns=control_ns,
                    )
                )
    return found
