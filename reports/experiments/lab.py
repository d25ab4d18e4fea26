"""Runs each pair of trace and machine once, however many experiments ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim.machines import make_machine
from sim.result import Result
from sim.run import simulate
from workloads.trace import Trace

Settings = Mapping[str, Any]


class Lab:
    """Traces by name, made when first asked for, and the results of their runs."""

    def __init__(self, traces: Mapping[str, Callable[[], Trace]]) -> None:
        self._makers = dict(traces)
        self._traces: dict[str, Trace] = {}
        self._results: dict[tuple[Any, ...], Result] = {}

    @property
    def names(self) -> list[str]:
        """Names of all traces."""
        return list(self._makers)

    def trace(self, name: str) -> Trace:
        """Return a trace."""
        if name not in self._traces:
            self._traces[name] = self._makers[name]()
        return self._traces[name]

    def run(self, trace: str, machine: str, settings: Settings | None = None) -> Result:
        """Run a trace on a machine with some fields changed."""
        changes = dict(settings or {})
        key = (trace, machine, tuple(sorted((k, str(v)) for k, v in changes.items())))
        if key not in self._results:
            self._results[key] = simulate(self.trace(trace), make_machine(machine, changes))
        return self._results[key]

    @property
    def runs(self) -> int:
        """Simulations done so far."""
        return len(self._results)
