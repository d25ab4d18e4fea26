"""Traces for sweeps: methods on models, or traces that are there already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.catalog import make_method, open_trace
from reports.console import Phases
from reports.source import Source, check_claim, make_source
from sim.sweep.fields import check_fields, names_of
from workloads.config import Config
from workloads.errors import InputError
from workloads.trace_part import select
from workloads.variants import Compressed, Lengths, fields_of, find, with_lengths

if TYPE_CHECKING:
    from algos.base import Method
    from sim.sweep.point import TraceOrder
    from sim.sweep.space import Space
    from workloads.trace import Trace


class ModelTraces:
    """Runs methods on workloads; decoders without weights and paths of traces need no method."""

    def __init__(self) -> None:
        self._here = Path.cwd()  # where relative paths start; a worker may run elsewhere
        self._contents: dict[Path, str] = {}

    def check(self, space: Space) -> None:
        """Check workloads, methods and their fields.

        Raises:
            InputError: one is unknown, or no method is given.
        """
        workloads = names_of(space, "workload")
        check_fields(space, "workload", _fields_of)
        if not names_of(space, "method") and not all(_needs_no_method(name) for name in workloads):
            raise InputError("method must be given for a workload that is no trace, there is none")
        check_fields(space, "method", make_method)

    def describe(self, order: TraceOrder) -> dict[str, Any]:
        """Return what decides the trace."""
        about = {"inputs": order.inputs, "part": order.part}
        if _is_trace(order.workload):
            path = Path(order.workload)
            return about | {"trace": path.name, "content": self._content(path)}
        fields = _fields(order)
        about |= {"fields": fields.model_dump(mode="json")}
        if isinstance(fields, Compressed):
            _check_shape_only(order)
            return about | {"workload": order.workload}
        method = _method(order)
        check_claim(method, order.workload)
        return about | {
            "workload": order.workload,
            "method": method.name,
            "parameters": method.model_dump(mode="json"),
            "limit": order.limit,
            "seed": order.seed,
        }

    def _content(self, path: Path) -> str:
        if path not in self._contents:  # read once a sweep: many points share a trace
            self._contents[path] = _content(path)
        return self._contents[path]

    def make(self, order: TraceOrder) -> Trace:
        """Return the trace; a worker keeps the model it has loaded."""
        if _is_trace(order.workload):
            trace = open_trace(self._here / order.workload)
        elif isinstance(fields := _fields(order), Compressed):
            trace = fields.trace(order.workload)
        else:
            source = _source(_Request(order.workload, order.limit, order.seed, fields))
            trace = source.trace(_method(order), lambda done, of: None)
        return select(trace, order.inputs, order.part)


@dataclass(frozen=True)
class _Request:
    """What a source asks of a job."""

    workload: str
    limit: int | None
    seed: int
    fields: Config
    sentences: Path | None = None


@lru_cache(maxsize=1)
def _source(request: _Request) -> Source:
    workload = find(request.workload)
    if isinstance(request.fields, Lengths):
        workload = with_lengths(workload, request.fields)
    source = make_source(request, workload)
    with Phases(visible=False) as phases:
        source.load(phases)
    return source


def _method(order: TraceOrder) -> Method:
    if order.method is None:
        raise InputError(f"method must be given for {order.workload}, there is none")
    return make_method(order.method).override(dict(order.settings))


def _fields_of(workload: str) -> Config:
    """Return what can be varied of a workload."""
    return Config() if _is_trace(workload) else fields_of(workload)


def _fields(order: TraceOrder) -> Config:
    """Return them as an order has them.

    Raises:
        InputError: an impossible value.
    """
    return _fields_of(order.workload).override(dict(order.workload_settings))


def _check_shape_only(order: TraceOrder) -> None:
    """Require that nothing is asked for that takes weights.

    Raises:
        InputError: a method, or a limit of the inputs.
    """
    for name, value in (("method", order.method), ("limit", order.limit)):
        if value is not None:
            raise InputError(
                f"{name} must be left out for {order.workload}, nothing runs on a bare shape"
            )


def _is_trace(workload: str) -> bool:
    return workload.endswith((".csv", ".trace")) or "/" in workload


def _needs_no_method(workload: str) -> bool:
    return _is_trace(workload) or isinstance(_fields_of(workload), Compressed)


def _content(path: Path) -> str:
    """Return the SHA-256 of a trace's files.

    Raises:
        InputError: it does not exist.
    """
    if not path.exists():
        raise InputError(f"trace {path} must be a trace folder or a .csv file, it does not exist")
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    found = hashlib.sha256()
    for file in files:
        found.update(file.name.encode())
        found.update(file.read_bytes())
    return found.hexdigest()
