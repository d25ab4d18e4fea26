"""Modelled times of kernels: what `sim.gpu` predicts from resources as compiled, where it is."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

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

    That is so without a cost model, and for programs whose resources are not recorded.

    Raises:
        InputError: no such device.
    """
    if not available():
        return None
    chosen = import_module("sim.gpu.devices").make_device(device)
    predict = import_module("sim.gpu.model").predict
    target = "sm_90" if chosen.architecture in ("hopper", "blackwell") else "sm_80"
    try:
        return float(predict(launches(kernel, shape, target), chosen, graph=True).ns)
    except InputError:
        return None
