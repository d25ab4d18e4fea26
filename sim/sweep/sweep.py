"""A sweep: every point of a space once, each kept as soon as it is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sim.machines import make_machine
from sim.sweep.engine import Engine, Processes
from sim.sweep.fields import check_columns, check_fields
from sim.sweep.search import check_search, search
from sim.sweep.space import Space
from sim.sweep.store import FILE, LOCK, Store
from sim.sweep.traces import TraceMaker
from sim.sweep.work import Progress, Work
from workloads.errors import InputError

SPACE = "space"  # under this name the store keeps what was asked for


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended."""

    folder: Path
    counts: dict[str, int]  # status -> points of the space
    ran: int  # points that were run now; the others were there


class Sweep:
    """A space in a folder.

    Args:
        space: what is varied.
        maker: of traces.
        folder: of the store, the traces and, later, the report.

    Raises:
        InputError: an unknown axis, machine, method or objective, or a search without Optuna.
    """

    def __init__(self, space: Space, maker: TraceMaker, folder: Path) -> None:
        self.space, self.folder, self._maker = space, folder, maker
        check_columns(space)
        check_search(space)
        check_fields(space, "machine", make_machine)
        maker.check(space)

    def run(
        self,
        engine: Engine | None = None,
        *,
        resume: bool = False,
        retry_failed: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:
        """Run what is not there yet.

        Args:
            engine: where; none: one more process of this machine.
            resume: go on with what the folder holds; else it must be new or empty.
            retry_failed: run points and traces again that failed.
            progress: told of every finished trace and point.

        Raises:
            InputError: the folder cannot be used, or no longer be written.
        """
        with engine or Processes(1) as workers, open_store(self.folder, resume=resume) as store:
            _remember(store, self.space, again=retry_failed)
            work = Work(self.space, self._maker, store, workers, retry_failed, progress)
            if self.space.search is not None:
                search(work, self.space.search)
            else:
                work.make_traces(work.orders())
                work.run(work.points(), self.space.size())
            return Outcome(self.folder, store.counts(), work.ran)


def open_store(folder: Path, *, resume: bool) -> Store:
    """Return the store of a folder to write in.

    Raises:
        InputError: the folder holds other things, or a sweep and `resume` is false.
    """
    make_folder(folder)
    there = (folder / FILE).exists()
    other = not there and any(path.name != LOCK for path in folder.iterdir())
    if other:
        raise InputError(
            f"output {folder} must be new, empty or a sweep's folder, it holds other files"
        )
    store = Store(folder)
    if there and not resume:
        store.close()
        raise InputError(
            f"output {folder} must be new or empty, it holds a sweep: --resume goes on with it"
        )
    return store


def make_folder(folder: Path) -> None:
    """Make the folder of a sweep if it is not there.

    Raises:
        InputError: it cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        next(folder.iterdir(), None)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"output {folder} must be a folder to write in: {reason}") from error


def _remember(store: Store, space: Space, *, again: bool) -> None:
    """Keep what was asked for; points of another space in the same folder lose their place.

    So do those of a search that runs `again` what failed: from there on it may choose others.
    """
    wanted = json.loads(space.model_dump_json())
    if store.about(SPACE) not in (None, wanted) or (again and space.search is not None):
        store.forget_numbers()
    store.note(SPACE, wanted)
