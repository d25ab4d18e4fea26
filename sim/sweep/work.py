"""A sweep under way: from points to calls of an engine, and from answers to the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sim.sweep.engine import Answer, Call, Engine
from sim.sweep.evaluate import Evaluated, evaluate
from sim.sweep.foresight import foresee
from sim.sweep.point import Point, TraceOrder, digest, point_key, point_of
from sim.sweep.space import Space
from sim.sweep.store import Status, Store, Stored
from sim.sweep.traces import Made, TraceMaker, Traces
from workloads.errors import InputError

Progress = Callable[[str, int, int], None]
"""Called as ("traces" or "points", done, of)."""


class Work:
    """What is left to do of a space, and doing it.

    Args:
        space: what is varied.
        maker: of traces.
        store: where everything finished goes.
        engine: where calls run.
        retry_failed: run again what failed.
        progress: told of every finished trace and point.
    """

    def __init__(
        self,
        space: Space,
        maker: TraceMaker,
        store: Store,
        engine: Engine,
        retry_failed: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.space, self.store = space, store
        self.ran = 0  # points
        self._maker, self._engine, self._retry = maker, engine, retry_failed
        self._progress = progress or (lambda what, done, of: None)
        self._traces = Traces(store, maker, retry_failed=retry_failed)
        self._made: dict[TraceOrder, Made] = {}
        self._wanted = [*space.objectives, *space.constraints]

    def points(self) -> Iterator[Point]:
        """Yield the points of the space."""
        for number, assignment in enumerate(self.space.assignments()):
            yield point_of(self.space, number, assignment)

    def orders(self) -> list[TraceOrder]:
        """Return the traces that the points of the space need, each once."""
        return list(dict.fromkeys(point.order for point in self.points()))

    def make_traces(self, orders: Iterable[TraceOrder]) -> None:
        """Make traces that are not there; one that cannot be made fails the points on it."""
        calls = []
        for order in orders:
            made = self._made.get(order) or self._traces.look(order)
            if made is None:
                calls.append(Call(order, self._maker.make, (order,)))
            else:
                self._made[order] = made
        for done, reply in enumerate(self._engine.run(calls), start=1):
            self._made[reply.tag] = self._traces.keep(reply)
            self._progress("traces", done, len(calls))

    def made(self, order: TraceOrder) -> Made:
        """Return a trace that `make_traces` was asked for."""
        return self._made[order]

    def run(self, points: Iterable[Point], total: int, before: int = 0) -> None:
        """Run the points that are not there yet; their traces must be made.

        Args:
            points: walked through once.
            total: how many, for progress.
            before: how many of them were run by earlier calls.
        """
        for done, reply in enumerate(self._engine.run(self._calls(points)), start=before + 1):
            if reply.tag is not None:
                self._keep(reply)
            self._progress("points", done, total)

    def key(self, point: Point) -> str:
        """Return the content address of a point's result.

        Raises:
            InputError: the machine has an impossible value.
        """
        return point_key(self.made(point.order).key, point.configuration)

    def address(self, point: Point) -> tuple[str, str | None]:
        """Return the key under which a point is kept, and why it cannot run; None: it may."""
        made = self.made(point.order)
        try:
            return self.key(point), made.failure
        except InputError as error:
            key = digest([made.key, point.machine, sorted(point.settings.items())])
            return key, made.failure or str(error)

    def foresee(self, chunks: list[list[Point]]) -> Iterator[tuple[list[Point], list[Any]]]:
        """Yield the bounds of points in closed form, None where there are none.

        Args:
            chunks: points that can run, all of one trace in a chunk.
        """
        calls = [
            Call(chunk, foresee, (self.made(chunk[0].order).path, machines, self._wanted))
            for chunk in chunks
            for machines in [[point.configuration for point in chunk]]
        ]
        for reply in self._engine.run(calls):
            yield reply.tag, reply.value or [None] * len(reply.tag)

    def leave_out(self, point: Point, reason: str) -> None:
        """Keep that a point is not run, and why; a row of it from another sweep stays."""
        key, _ = self.address(point)
        there = self.store.status(key)
        if there is None or there[0] != "done":
            self.store.add(_without_row(key, point, self.made(point.order), "pruned", reason))

    def _calls(self, points: Iterable[Point]) -> Iterator[Call | Answer]:
        """Yield a call for each point that is to be run, an empty answer for each other one."""
        under_way: set[str] = set()
        for point in points:
            made = self.made(point.order)
            key, failure = self.address(point)
            if key in under_way or self._there(key, point):
                yield Answer(None)
            elif failure is not None:
                self.store.add(_without_row(key, point, made, "failed", failure))
                yield Answer(None)
            else:
                under_way.add(key)
                arguments = (made.path, point.configuration, self._wanted)
                yield Call((key, point, under_way), evaluate, arguments)

    def _there(self, key: str, point: Point) -> bool:
        """Tell whether the store has a point; see that it has a place in the space."""
        found = self.store.status(key)
        if found is None or found[0] == "pruned":
            return False  # who asks for a point that a search left out wants it run
        status, number = found
        # a point that comes twice in a space is kept, and tried again, at its first place
        if status == "failed" and self._retry and (number is None or point.number <= number):
            return False
        if number is None:
            self.store.number_again(key, point.number)
        return True

    def _keep(self, reply: Answer) -> None:
        key, point, under_way = reply.tag
        found: Evaluated | None = reply.value
        failure = reply.failure or (found.failure if found else None)
        self.store.add(
            Stored(
                key=key,
                number=point.number,
                status="failed" if failure else "done",
                assignment=point.assignment,
                trace=self.made(point.order).key,
                reason=failure,
                row=found.row if found else None,
                detail=found.detail if found else None,
                seconds=reply.seconds,
            )
        )
        under_way.discard(key)
        self.ran += 1


def _without_row(key: str, point: Point, made: Made, status: Status, reason: str) -> Stored:
    return Stored(
        key=key,
        number=point.number,
        status=status,
        assignment=point.assignment,
        trace=made.key,
        reason=reason,
    )
