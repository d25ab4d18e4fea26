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
from contextlib import ExitStack, contextmanager
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
create unique index by_number on points (number);
create trigger added before insert on points begin
    update points set number = null where number = new.number and key <> new.key;
end;
create trigger placed before update of number on points begin
    update points set number = null where number = new.number and key <> new.key;
end;
"""
# A place in the space holds one point. Another one takes it when a trace that could not be made,
# or whose file has changed, gives the point another key.


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
        path = folder / FILE
        with ExitStack() as opened:
            if not reading:
                opened.callback(os.close, _lock(folder))
            elif not path.exists():
                raise InputError(f"{folder} must be a sweep's folder with {FILE}, there is none")
            with told(path):
                where = f"{path.resolve().as_uri()}?mode={'ro' if reading else 'rwc'}"
                self._db = sqlite3.connect(where, uri=True, isolation_level=None)
                opened.callback(self._db.close)
                if not reading:
                    self._db.execute("pragma journal_mode = wal")
                    self._db.execute("pragma synchronous = normal")
                self._open(path, reading=reading)
            self._opened = opened.pop_all()

    def _open(self, path: Path, *, reading: bool) -> None:
        empty = not self._all("select count(*) from sqlite_master")[0][0]
        if empty and not reading:
            self._db.executescript(f"begin;{_TABLES}")
            self.note("schema", SCHEMA)
            self.note("code", code_version())
            self._db.execute("commit")
        elif empty:
            raise InputError(f"{path} must hold a sweep, none has begun in it yet")
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
        self._opened.close()

    def _write(self, statement: str, *values: Any) -> None:
        """Run one statement; what it changes is there for good when this returns."""
        with told(self.folder / FILE):
            self._db.execute(statement, values)

    def _all(self, query: str, *values: Any) -> list[Any]:
        with told(self.folder / FILE):
            return self._db.execute(query, values).fetchall()

    def note(self, name: str, value: Any) -> None:
        """Keep a fact about the sweep."""
        self._write("replace into about values (?, ?)", name, json.dumps(value))

    def about(self, name: str) -> Any:
        """Return a fact about the sweep; None: not known."""
        found = self._all("select value from about where name = ?", name)
        return json.loads(found[0][0]) if found else None

    def add(self, point: Stored) -> None:
        """Keep a point; it is there for good when this returns."""
        detail = None if point.detail is None else zlib.compress(_json(point.detail).encode(), 1)
        self._write(
            "replace into points values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            point.key,
            point.number,
            point.status,
            point.reason,
            _json(point.assignment),
            point.trace,
            None if point.row is None else _json(point.row),
            detail,
            point.seconds,
        )

    def status(self, key: str) -> tuple[Status, int | None] | None:
        """Return how a point ended and its place; None: it has not been run."""
        found = self._all("select status, number from points where key = ?", key)
        return found[0] if found else None

    def number_again(self, key: str, number: int) -> None:
        """Give a point that is there already its place in the present space."""
        self._write("update points set number = ? where key = ?", number, key)

    def forget_numbers(self) -> None:
        """Take all points out of the space; those that belong to it get their number again."""
        self._write("update points set number = null")

    def get(self, key: str) -> Stored | None:
        """Return a point without its long tables."""
        found = self._all(f"{_SELECT} where key = ?", key)
        return _stored(found[0]) if found else None

    def detail(self, key: str) -> dict[str, Any] | None:
        """Return the long tables of a point; None: it has none."""
        found = self._all("select detail from points where key = ?", key)
        return json.loads(zlib.decompress(found[0][0])) if found and found[0][0] else None

    def points(self, *, details: bool = False) -> Iterator[Stored]:
        """Yield the points of the space in order; `details`: with their long tables."""
        select = _SELECT.replace("null", "detail") if details else _SELECT
        with told(self.folder / FILE):
            for found in self._db.execute(f"{select} where number is not null order by number"):
                yield _stored(found)

    def counts(self) -> dict[str, int]:
        """Return how many points of the space ended how."""
        return dict(
            self._all(
                "select status, count(*) from points where number is not null group by status"
            )
        )

    def add_trace(self, key: str, description: Any, seconds: float, reason: str | None) -> None:
        """Keep that a trace is made, or why it could not be."""
        status = "done" if reason is None else "failed"
        self._write(
            "replace into traces values (?, ?, ?, ?, ?)",
            key,
            status,
            reason,
            _json(description),
            seconds,
        )

    def traces(self) -> dict[str, dict[str, Any]]:
        """Return status, reason, description and seconds of every trace, by key."""
        names = ("status", "reason", "description", "seconds")
        return {
            key: {**dict(zip(names, rest, strict=True)), "description": json.loads(rest[2])}
            for key, *rest in self._all("select * from traces order by key")
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
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
            raise no_room(path, error) from error
        raise InputError(f"{path} must be a sweep's SQLite file: {error}") from error


def no_room(path: Path, error: Exception) -> InputError:
    """Return what to tell when something cannot be written: nothing finished is lost by it."""
    reason = getattr(error, "strerror", None) or error
    return InputError(
        f"{path} must be writable: {reason}; what was finished is kept, --resume goes on"
    )


def _lock(folder: Path) -> int:
    """Take the folder for this process; the system gives it back when the process ends."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{folder / LOCK} must be writable: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise InputError(
            f"{folder} must be used by one sweep at a time, another one is running in it"
        ) from None
    return handle
