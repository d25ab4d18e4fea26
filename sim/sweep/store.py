"""The store of a sweep: one SQLite file, in which a finished point is there for good.

SQLite, not Parquet parts: a row is committed by itself in about 0.1 ms, a process that is killed
in the middle leaves the last commit, and the file answers `select` while the sweep runs. The
journal is a write-ahead log without a flush to the disk after every commit (that costs 6 ms): a
kill loses nothing, a power failure at most the last moments, which `--resume` runs again.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from sim.sweep.point import code_version
from workloads.errors import InputError

FILE = "sweep.sqlite"
LOCK = "sweep.lock"
SCHEMA = 1

Status = Literal["done", "failed", "pruned"]

_TABLES = """
create table about (name text primary key, value text) without rowid;
create table traces (
    key text primary key, status text, reason text, description text, seconds real
) without rowid;
create table points (
    key text primary key, number integer, status text, reason text, assignment text, trace text,
    row text, detail blob, seconds real
) without rowid;
create index by_number on points (number);
"""


@dataclass(frozen=True)
class Stored:
    """A point as it is kept."""

    key: str
    number: int
    status: Status
    assignment: dict[str, Any]
    trace: str  # key of its trace
    reason: str | None = None  # why it failed or was left out
    row: dict[str, Any] | None = None
    detail: dict[str, Any] | None = None  # long tables, columns of lists
    seconds: float = 0.0


class Store:
    """Opened by one sweep at a time; `reading` opens it beside one.

    Raises:
        InputError: another sweep uses the folder, or the file is not this version's.
    """

    def __init__(self, folder: Path, *, reading: bool = False) -> None:
        self.folder = folder
        self._lock = None if reading else _lock(folder)
        path = folder / FILE
        try:
            there = path.exists()
            if not there and reading:
                raise InputError(f"{folder} must be a sweep's folder with {FILE}, there is none")
            self._db = sqlite3.connect(path, isolation_level=None)
            with told(path):
                self._db.execute("pragma journal_mode = wal")
                self._db.execute("pragma synchronous = normal")
                self._open(path, there=there, reading=reading)
        except BaseException:
            self.unlock()
            raise

    def _open(self, path: Path, *, there: bool, reading: bool) -> None:
        if not there or not self._db.execute("select count(*) from sqlite_master").fetchone()[0]:
            self._db.executescript(f"begin;{_TABLES}")
            self.note("schema", SCHEMA)
            self.note("code", code_version())
            self._db.execute("commit")
        if self.about("schema") != SCHEMA:
            raise InputError(
                f"{path} must have schema {SCHEMA}, it has {self.about('schema')}: "
                "use the version of prunesim that made it, or another folder"
            )
        if not reading and self.about("code") != code_version():
            raise InputError(
                f"{path} must be of this code, version {code_version()}, it is of "
                f"{self.about('code')}: its rows would not compare; use another folder"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        self.unlock()

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note(self, name: str, value: Any) -> None:
        """Keep a fact about the sweep."""
        with told(self.folder / FILE):
            self._db.execute("replace into about values (?, ?)", (name, json.dumps(value)))

    def about(self, name: str) -> Any:
        """Return a fact about the sweep; None: not known."""
        found = self._db.execute("select value from about where name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def add(self, point: Stored) -> None:
        """Keep a point; it is there for good when this returns."""
        detail = None if point.detail is None else zlib.compress(_json(point.detail).encode(), 1)
        with told(self.folder / FILE):
            self._db.execute(
                "replace into points values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    point.key,
                    point.number,
                    point.status,
                    point.reason,
                    _json(point.assignment),
                    point.trace,
                    None if point.row is None else _json(point.row),
                    detail,
                    point.seconds,
                ),
            )

    def status(self, key: str) -> tuple[Status, int | None] | None:
        """Return how a point ended and its place; None: it has not been run."""
        found: tuple[Status, int | None] | None = self._db.execute(
            "select status, number from points where key = ?", (key,)
        ).fetchone()
        return found

    def number_again(self, key: str, number: int) -> None:
        """Give a point that is there already its place in the present space."""
        with told(self.folder / FILE):
            self._db.execute("update points set number = ? where key = ?", (number, key))

    def forget_numbers(self) -> None:
        """Take all points out of the space; those that belong to it get their number again."""
        with told(self.folder / FILE):
            self._db.execute("update points set number = null")

    def get(self, key: str) -> Stored | None:
        """Return a point without its long tables."""
        found = self._db.execute(f"{_SELECT} where key = ?", (key,)).fetchone()
        return None if found is None else _stored(found)

    def detail(self, key: str) -> dict[str, Any] | None:
        """Return the long tables of a point; None: it has none."""
        found = self._db.execute("select detail from points where key = ?", (key,)).fetchone()
        return None if found is None or found[0] is None else json.loads(zlib.decompress(found[0]))

    def points(self, *, details: bool = False) -> Iterator[Stored]:
        """Yield the points of the space in order; `details`: with their long tables."""
        select = _SELECT.replace("null", "detail") if details else _SELECT
        for found in self._db.execute(f"{select} where number is not null order by number"):
            yield _stored(found)

    def counts(self) -> dict[str, int]:
        """Return how many points of the space ended how."""
        return dict(
            self._db.execute(
                "select status, count(*) from points where number is not null group by status"
            ).fetchall()
        )

    def add_trace(self, key: str, description: Any, seconds: float, reason: str | None) -> None:
        """Keep that a trace is made, or why it could not be."""
        status = "done" if reason is None else "failed"
        with told(self.folder / FILE):
            self._db.execute(
                "replace into traces values (?, ?, ?, ?, ?)",
                (key, status, reason, _json(description), seconds),
            )

    def traces(self) -> dict[str, dict[str, Any]]:
        """Return status, reason, description and seconds of every trace, by key."""
        names = ("status", "reason", "description", "seconds")
        return {
            key: {**dict(zip(names, rest, strict=True)), "description": json.loads(rest[2])}
            for key, *rest in self._db.execute("select * from traces order by key")
        }


_SELECT = "select key, number, status, assignment, trace, reason, row, null, seconds from points"


def _stored(found: tuple[Any, ...]) -> Stored:
    key, number, status, assignment, trace, reason, row, detail, seconds = found
    return Stored(
        key=key,
        number=number,
        status=status,
        assignment=json.loads(assignment),
        trace=trace,
        reason=reason,
        row=None if row is None else json.loads(row),
        detail=None if detail is None else json.loads(zlib.decompress(detail)),
        seconds=seconds,
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the file system or SQLite refuses into one sentence.

    Raises:
        InputError: no room, a broken file.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(
            f"{path} must be writable: {error}; what was finished is kept, --resume goes on"
        ) from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} must be a sweep's SQLite file: {error}") from error


def _lock(folder: Path) -> int:
    """Take the folder for this process; the system gives it back when the process ends."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(
            f"{folder} must be used by one sweep at a time, another one is running in it"
        ) from None
    return handle
