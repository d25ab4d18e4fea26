"""What the command line shows: results on stdout, progress on stderr and never in a pipe."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from reports.summary import TextTable

Update = Callable[[int, int], None]  # (done, of)
PIPE_WIDTH = 160  # characters of a line where there is no terminal


class Phases:
    """Times the parts of a command; shows them while they run if `visible` and on a terminal."""

    def __init__(self, visible: bool) -> None:
        self.seconds: dict[str, float] = {}
        self._visible = visible
        self._started = time.perf_counter()
        self._progress: Progress | None = None

    @property
    def total_seconds(self) -> float:
        """Seconds since the command began; phases may overlap."""
        return time.perf_counter() - self._started

    def __enter__(self) -> Phases:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=console,
            disable=not (self._visible and console.is_terminal),
        )
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    @contextmanager
    def __call__(self, name: str) -> Iterator[Update]:
        """Time one phase; the phase may call back with how far it is."""
        assert self._progress is not None
        progress = self._progress
        task = progress.add_task(name, total=None)
        started = time.perf_counter()
        yield lambda done, of: progress.update(task, completed=done, total=of)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        progress.update(task, completed=1, total=1)


def print_json(value: Any) -> None:
    """Write one JSON value on stdout and nothing else."""
    typer.echo(json.dumps(value, indent=2, default=_plain))


def print_line(text: str) -> None:
    typer.echo(text)


def shown_width() -> int:
    """Return the characters of a line: those of the terminal, or what suits a pipe."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else PIPE_WIDTH


def print_table(table: TextTable) -> None:
    """Write a table that fits the terminal; emphasised rows are bold."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="dim")
    for name, numeric in zip(table.columns, table.numeric, strict=True):
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for at, row in enumerate(table.rows):
        own = bool(table.emphasis) and table.emphasis[at]
        shown.add_row(*row, style="bold" if own else "")
    console = Console(markup=False, highlight=False)
    console.width = shown_width()
    console.print(shown)


def _plain(value: Any) -> Any:
    """Turn numpy scalars into Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
