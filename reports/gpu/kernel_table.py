"""The README's table of GPU kernels, made from the registry and the cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from algos.kernels import KERNELS, make_kernel
from algos.kernels.base import Kernel
from reports import words
from reports.gpu.modelled import DEVICE, modelled_ns
from reports.marked import marked, write_marked

RENEW = "make kernels"
"""The command that brings the table up to date."""

MARKS = ("<!-- kernels -->\n", "<!-- end of kernels -->\n")
"""Lines around the table in the README."""

_COLUMNS = (
    "kernel",
    "what it does",
    "in",
    "from",
    f"modelled:{DEVICE}, shape of most work",
    "its dense control",
)


def markdown_table() -> str:
    """Return a row for each kernel, with modelled times at its largest paper shape."""
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *(_row(make_kernel(name)) for name in KERNELS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def table_in(text: str) -> str:
    """Return the table that stands between the marks of a text.

    Raises:
        InputError: the text has no marks.
    """
    return marked(text, MARKS)


def write_table(readme: Path) -> None:
    """Replace the table between the marks of a file.

    Raises:
        InputError: the file has no marks.
    """
    write_marked(readme, MARKS, markdown_table())


def _row(kernel: Kernel) -> list[str]:
    label, shape = max(kernel.papers.items(), key=lambda one: kernel.count(one[1]).flops)
    control = "-"
    if kernel.dense is not None:
        time = _time(make_kernel(kernel.dense), kernel.dense_shape(shape))
        control = f"`{kernel.dense}` {time}"
    own = f"{label}: {_time(kernel, shape)}"
    return [f"`{kernel.name}`", kernel.title, _language(kernel, shape), kernel.source, own, control]


def _time(kernel: Kernel, shape: Any) -> str:
    found = modelled_ns(kernel, shape)
    return "-" if found is None else words.duration(found)


def _language(kernel: Kernel, shape: Any) -> str:
    programs = kernel.programs(shape, "sm_90")
    if not programs:
        return "torch"
    return {"triton": "Triton", "cuda": "CUDA C++"}[programs[0].language]
