"""Small spaces, a maker of synthetic traces and an engine without processes, for tests."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.sweep.engine import Answer, Stream, answer
from sim.sweep.point import TraceOrder
from sim.sweep.space import Space
from sim.sweep.store import Store, Stored
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import Trace

TINY = ModelShape(
    name="tiny",
    layers=2,
    heads=2,
    kv_heads=2,
    head_dim=64,
    hidden=128,
    intermediate=512,
    source="test",
)


class Synthetic:
    """Traces of two small layers; `keep` is the only field of their method."""

    def check(self, space: Space) -> None:
        """Accept anything."""

    def describe(self, order: TraceOrder) -> dict[str, Any]:
        return {"settings": list(order.settings), "seed": order.seed}

    def make(self, order: TraceOrder) -> Trace:
        keep = float(str(dict(order.settings).get("keep", 1.0)))
        trace = shape_trace(TINY, 24, token_keep=[keep, keep])
        return replace(trace, header=replace(trace.header, accuracy={"share": keep}))


class Here:
    """Runs calls in this process; `backwards`: answers come last first; `most`: then it is gone."""

    def __init__(self, *, backwards: bool = False, most: int | None = None) -> None:
        self.calls = 0
        self._backwards, self._most = backwards, most

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, stream: Stream) -> Iterator[Answer]:
        items = list(stream) if self._backwards else stream
        for item in reversed(items) if isinstance(items, list) else items:
            if isinstance(item, Answer):
                yield item
                continue
            if self.calls == self._most:
                raise KeyboardInterrupt
            self.calls += 1
            yield Answer(item.tag, *answer(item.function, item.arguments))


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make the import of a package fail."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)


def stored(folder: Path) -> list[Stored]:
    """Return the points of a folder, without what differs from run to run."""
    with Store(folder, reading=True) as store:
        return [replace(point, seconds=0.0) for point in store.points()]
