"""The record of compiled kernels: resources by kernel, shape, function and target.

It stands for the compiler where none is installed: the cost model needs registers and shared
bytes. A program is known by the hash of its source and constants, so an old record is never used
for new code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algos.kernels import KERNELS, make_kernel
from algos.kernels.inspection import (
    Item,
    derived_items,
    inspect_apart,
    paper_items,
    program_hash,
    tools,
)
from reports.console import Phases
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS

if TYPE_CHECKING:
    from algos.kernels.base import Kernel, Program
    from workloads.gpu_launch import Launch

RECORD = Path(__file__).parents[1] / "data" / "gpu" / "kernels.json"
RENEW = "prunesim kernels record"
"""The command that brings the record up to date."""

_FACTS = ("kernel", "shape", "function", "target", "language", "warps", "registers")
_FACTS += ("spilled_bytes", "shared_bytes", "blocks_per_sm", "instructions", "sha256")

_COMPILED: dict[str, dict[str, Any]] = {}  # hash -> resources, beside the record


def read_record(path: Path | None = None) -> list[dict[str, Any]]:
    """Return the rows as they were recorded; none when nothing was."""
    path = path or RECORD
    return json.loads(path.read_text("utf-8"))["programs"] if path.is_file() else []


def recorded_items(names: Iterable[str] = KERNELS) -> list[Item]:
    """Return every different program of the paper shapes, the sparsity curves and the controls.

    Those of the baselines' workloads come last. The paper shape comes first where several shapes
    share one compiled program.
    """
    from reports.gpu.baselines.items import lowered_items

    different: dict[str, Item] = {}
    items = [*paper_items(names, TARGETS), *derived_items(names, TARGETS)]
    for item in [*items, *lowered_items(names, TARGETS)]:
        different.setdefault(_hash(item), item)
    order = [*KERNELS]
    return sorted(different.values(), key=lambda item: order.index(item.kernel))


def stale_kernels() -> list[str]:
    """Return the kernels that have a program which is not recorded, or a recorded one too many."""
    recorded = {row["sha256"]: row["kernel"] for row in read_record()}
    wanted = {_hash(item): item.kernel for item in recorded_items()}
    stale = {name for sha256, name in wanted.items() if sha256 not in recorded}
    stale |= {name for sha256, name in recorded.items() if sha256 not in wanted}
    return [name for name in KERNELS if name in stale] + sorted(stale - set(KERNELS))


def renew(jobs: int, visible: bool) -> list[str]:
    """Compile what is not recorded and write the record; return the kernels that were renewed.

    Raises:
        InputError: a program does not compile, or one of a paper shape breaks a promise.
    """
    stale = stale_kernels()
    known = {row["sha256"]: row for row in read_record()}
    items = recorded_items()
    new = [item for item in items if _hash(item) not in known]
    with Phases(visible) as phase, phase(f"compile {len(new)} programs") as update:
        for done, row in enumerate(inspect_apart(new, jobs) if new else (), start=1):
            of_paper = row.shape in make_kernel(row.kernel).papers
            if not row.compiled or (row.broken and of_paper):
                raise InputError(row.reason or row.broken[0])
            known[row.sha256] = {name: asdict(row)[name] for name in _FACTS}
            update(done, len(new))
    if stale:
        ordered = [{**known[_hash(item)], "shape": item.shape} for item in items]
        _write({"tools": tools(), "programs": ordered})
    return stale


def compile_missing(items: Iterable[Item], jobs: int, visible: bool) -> None:
    """Compile programs that are not recorded, for this process: `resources` knows them then.

    What cannot be compiled here is left out, and `resources` says so.
    """
    wanted = {_hash(item): item for item in items}
    known = _by_hash(RECORD)
    new = [item for sha256, item in wanted.items() if sha256 not in {*known, *_COMPILED}]
    with Phases(visible) as phase, phase(f"compile {len(new)} programs") as update:
        for done, row in enumerate(inspect_apart(new, jobs) if new else (), start=1):
            if row.compiled:
                _COMPILED[row.sha256] = asdict(row)
            update(done, len(new))


def resources(kernel: Kernel, program: Program, target: str) -> dict[str, Any]:
    """Return the resources of a program, recorded or compiled by `compile_missing`.

    Returns:
        `registers`, `shared_bytes` and more.

    Raises:
        InputError: there are none of this program.
    """
    sha256 = program_hash(kernel, program, target)
    found = _by_hash(RECORD).get(sha256) or _COMPILED.get(sha256)
    if found is None:
        raise InputError(
            f"{kernel.name}: {program.function} with {dict(program.constants)} for {target} must "
            f"be recorded: `{RENEW}`"
        )
    return found


def launches(kernel: Kernel, shape: Any, target: str) -> list[Launch]:
    """Return what the cost model reads of a kernel at a shape, with the recorded resources.

    Raises:
        InputError: the record holds no such program, as for a shape that is no paper's.
    """
    found = []
    for program in kernel.programs(shape, target):
        known = resources(kernel, program, target)
        found.append(program.launch(known["registers"], known["shared_bytes"]))
    return found


@cache
def _by_hash(path: Path) -> dict[str, dict[str, Any]]:
    return {row["sha256"]: row for row in read_record(path)}


def _hash(item: Item) -> str:
    return program_hash(make_kernel(item.kernel), item.program, item.target)


def _write(record: dict[str, Any]) -> None:
    """Write the record with a line a program, which a merge can read."""
    lines = ",\n".join(f"    {json.dumps(row)}" for row in record["programs"])
    versions = json.dumps(record["tools"])
    text = f'{{\n  "tools": {versions},\n  "programs": [\n{lines}\n  ]\n}}\n'
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(text, "utf-8")
    _by_hash.cache_clear()
