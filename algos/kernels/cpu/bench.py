"""Measure kernels on this CPU: a row for each implementation, written when its group is done.

The operands of a round of calls are several times the largest cache. The implementations of a
group take turns, window by window: what disturbs the machine disturbs all of them alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from algos.kernels.cpu.cases import Call, Group, Member
from algos.kernels.rows import Row, Rows
from algos.kernels.spread import spread

TOLERANCE = 1e-4
"""most relative error of float32 sums of some thousand products"""


@dataclass(frozen=True)
class Settings:
    """How long a bench measures."""

    windows: int = 15
    window_ns: float = 3e7
    cold_factor: float = 2.0
    """a round of copies of the operands is so many times the largest cache"""
    most_copies: int = 64


FULL = Settings()
QUICK = Settings(windows=5, window_ns=5e6)


def bench(
    groups: Iterable[Group],
    store: Rows,
    settings: Settings,
    about: dict[str, Any],
    update: Callable[[str], None] = lambda _: None,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> None:
    """Measure the groups that have no measured row of each member yet.

    Args:
        groups: implementations of the same work, dense ones first.
        store: where rows are written.
        settings: how long is measured.
        about: columns of every row; `cache_bytes` is the cache that operands exceed.
        update: told what is measured.
        clock: nanoseconds.
    """
    for group in groups:
        update(group.shape)
        known = store.last()
        keys = [_key(group, member, about) for member in group.members]
        if all(known.get(key, {}).get("status") == "measured" for key in keys):
            continue
        for row in measure(group, settings, about, clock):
            store.append(row)


def measure(
    group: Group, settings: Settings, about: dict[str, Any], clock: Callable[[], int]
) -> list[Row]:
    """Return a row for each member; one that is wrong, or that fails, costs its own row."""
    rows: list[Row] = []
    rounds: list[tuple[Row, list[Call], int, list[float]]] = []
    for member in group.members:
        row = {"key": _key(group, member, about), **_named(group, member), **about}
        rows.append(row)
        try:
            error = member.check()
            if not error <= TOLERANCE:
                reason = f"its error must be at most {TOLERANCE:g}, it is {error:g}"
                row |= {"status": "refused", "reason": reason}
                continue
            calls = [member.copy() for _ in range(_copies(member, settings, about["cache_bytes"]))]
            _run(calls, 1, clock)
            repeats = max(1, math.ceil(settings.window_ns / max(_run(calls, 1, clock), 1)))
        except Exception as error:
            said = " ".join(str(error).split())[:400]
            row |= {"status": "failed", "reason": f"{type(error).__name__}: {said}"}
        else:
            row |= {"error": error, "copies": len(calls), "calls": repeats * len(calls)}
            rounds.append((row, calls, repeats, []))
    for _ in range(settings.windows):
        for _, calls, repeats, times in rounds:
            times.append(_run(calls, repeats, clock) / (repeats * len(calls)))
    for row, _, _, times in rounds:
        row.update(_figures(row, times))
    for row in rows:
        row["speedup"] = _speedup(row, rows)
    return rows


def _key(group: Group, member: Member, about: dict[str, Any]) -> str:
    return f"{group.key(member)} {about['threads']} threads"


def _figures(row: Row, times: list[float]) -> dict[str, Any]:
    found = spread([max(time, 1e-3) for time in times])  # a clock that stood still
    return {
        "status": "measured",
        "reason": "",
        "median_ns": found.median_ns,
        "p10_ns": found.p10_ns,
        "p90_ns": found.p90_ns,
        "windows": found.windows,
        "flops_per_s": row["flops"] / (found.median_ns * 1e-9),
        "bytes_per_s": row["dram_bytes"] / (found.median_ns * 1e-9),
    }


def _speedup(row: Row, rows: list[Row]) -> float | None:
    """Return how many times faster a row is than the faster dense one; None: it is dense."""
    dense = [r["median_ns"] for r in rows if r["status"] == "measured" and not r["sparsity"]]
    if row["status"] != "measured" or not row["sparsity"] or not dense:
        return None
    return float(min(dense) / row["median_ns"])


def _copies(member: Member, settings: Settings, cache_bytes: int) -> int:
    wanted = math.ceil(settings.cold_factor * cache_bytes / member.dram_bytes)
    return max(1, min(wanted, settings.most_copies))


def _named(group: Group, member: Member) -> dict[str, Any]:
    return {
        "kernel": member.kernel,
        "shape": group.shape,
        "size": group.size,
        "implementation": member.implementation,
        "sparsity": member.sparsity,
        "tokens": member.tokens,
        "flops": member.flops,
        "dram_bytes": member.dram_bytes,
    }


def _run(calls: list[Call], repeats: int, clock: Callable[[], int]) -> float:
    """Return the nanoseconds of some rounds of all calls."""
    start = clock()
    for _ in range(repeats):
        for call in calls:
            call()
    return clock() - start
