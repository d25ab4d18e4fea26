"""What can be named on the command line, and how a name becomes the thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.settings import field_docs
from workloads.config import unknown_name
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.base import Method, Parity
    from sim.machines.base import BareMachine
    from workloads.trace import Trace

PARITY: dict[Parity, str] = {
    "authors": "matches authors' outputs",
    "hand": "hand-checked",
    "description": "from description",
}
"""How a method was checked, in words; `algos.base.Parity` says more."""


def make_method(name: str) -> Method:
    """Return a method with its default parameters."""
    from algos import METHODS

    if name not in METHODS:
        raise InputError(unknown_name("method", name, METHODS))
    return METHODS[name]()


def make_machine(name: str) -> BareMachine:
    """Return a machine with its default configuration, or one described by a TOML file."""
    from sim import machines

    return machines.make_machine(name)


def open_trace(path: Path, iteration: int | None = None) -> Trace:
    """Read a trace folder, or a `.csv` in the SpAtten authors' format.

    Args:
        path: the folder or file.
        iteration: of a `.csv`, take only the rows of this iteration.

    Raises:
        InputError: there is no such thing, or it is broken.
    """
    if path.suffix == ".csv":
        from workloads.spatten_csv import read_csv
        from workloads.spatten_trace import to_trace

        workload = read_csv(path)
        return to_trace(workload if iteration is None else workload.iteration(iteration), path.stem)
    if iteration is not None:
        raise InputError(f"iteration must be left out for {path}, which is not a workload CSV")
    from workloads.trace import read_trace

    if not path.exists():
        raise InputError(f"trace {path} must be a trace folder or a .csv file, it does not exist")
    return read_trace(path)


def entries(what: str) -> list[dict[str, Any]]:
    """Return what is known of everything of a kind: name, description, fields and more.

    Raises:
        InputError: there is no such kind.
    """
    kinds: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "methods": _methods,
        "systems": _systems,
        "machines": _machines,
        "workloads": _workloads,
        "blocks": _blocks,
        "kernels": _kernels,
    }
    if what not in kinds:
        raise InputError(unknown_name("list", what, kinds))
    return kinds[what]()


def describe_method(method: Method) -> dict[str, Any]:
    """Return what a report and a list say of a method."""
    return {
        "description": first_sentence(type(method).__doc__),
        "family": method.family,
        "signal": method.signal,
        "granularity": method.granularity,
        "trace_kind": method.trace_kind,
        "training": method.training,
        "paper": method.paper,
        "parity": PARITY[method.parity],
        "workloads": list(method.workloads),
        "fields": field_docs(method),
    }


def describe_machine(machine: BareMachine) -> dict[str, Any]:
    """Return what a report and a list say of a machine."""
    return {
        "description": machine.description,
        "exploits": sorted(machine.exploits),
        "fidelity": [*machine.fidelity],
        "fields": field_docs(machine),
    }


def first_sentence(text: str | None) -> str:
    """Return the first paragraph's first sentence of a docstring."""
    paragraph = " ".join((text or "").strip().partition("\n\n")[0].split())
    head, stop, _ = paragraph.partition(". ")
    return head + "." if stop else paragraph


def _methods() -> list[dict[str, Any]]:
    from algos import METHODS

    return [{"name": name, **describe_method(kind())} for name, kind in METHODS.items()]


def _systems() -> list[dict[str, Any]]:
    from algos import METHODS
    from algos.systems import read_systems

    return [
        {**asdict(system), "parity": PARITY[METHODS[system.method].parity]}
        for system in read_systems()
    ]


def _machines() -> list[dict[str, Any]]:
    from sim.machines import MACHINES

    return [{"name": name, **describe_machine(kind())} for name, kind in MACHINES.items()]


def _blocks() -> list[dict[str, Any]]:
    from reports.blocks import block_entries

    return block_entries()


def _kernels() -> list[dict[str, Any]]:
    from reports.gpu.listing import kernel_entries

    return kernel_entries()


def _workloads() -> list[dict[str, Any]]:
    from workloads.tasks import WORKLOADS

    return [{"name": name, "description": kind.description} for name, kind in WORKLOADS.items()]
