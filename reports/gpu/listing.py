"""What `prunesim list kernels` says of each GPU kernel."""

from __future__ import annotations

from typing import Any

from algos.kernels import KERNELS, make_kernel
from reports.gpu.record import read_record

COLUMNS = ("name", "what it is", "control", "sparsity", "paper shapes", "as compiled")


def kernel_entries() -> list[dict[str, Any]]:
    """Return title, source, control, shapes and recorded resources of each kernel."""
    recorded: dict[str, list[dict[str, Any]]] = {}
    for row in read_record():
        facts = {name: row[name] for name in row if name not in ("kernel", "sha256")}
        recorded.setdefault(row["kernel"], []).append(facts)
    found = []
    for name in KERNELS:
        kernel = make_kernel(name)
        found.append(
            {
                "name": name,
                "description": kernel.title,
                "source": kernel.source,
                "dense": kernel.dense,
                "sparsity": kernel.sparsity,
                "tolerance": kernel.tolerance,
                "papers": {label: shape.model_dump() for label, shape in kernel.papers.items()},
                "compiled": recorded.get(name, []),
            }
        )
    return found


def table_rows(entries: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row of text for each entry, in the order of `COLUMNS`."""
    return [
        [
            entry["name"],
            f"{entry['description']} ({entry['source']})",
            entry["dense"] or "is a control",
            entry["sparsity"] or "-",
            ", ".join(entry["papers"]),
            _compiled(entry["compiled"]),
        ]
        for entry in entries
    ]


def _compiled(rows: list[dict[str, Any]]) -> str:
    """Return the range of registers and shared memory over shapes and targets."""
    if not rows:
        return "-"
    registers = sorted(row["registers"] for row in rows)
    shared = max(row["shared_bytes"] for row in rows)
    return (
        f"{len(rows)} programs, {registers[0]} to {registers[-1]} registers, "
        f"at most {shared / 1024:g} KiB shared"
    )
