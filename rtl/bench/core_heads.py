"""Bench of the core on heads that files hold, such as those of a real model.

Each `*.npz` of the folder that is given holds `query`, `key` and `value`, (heads, tokens, channels)
signed codes; `multiplier` (heads,); `values`, `lsb`, `threshold` and, if V comes late, `late`, one
number each. The outputs, (heads, tokens, channels) exact sums, are written beside it as
`NAME.outputs.npy`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from rtl.bench.core import check
from rtl.bench.head_pipeline import golden_head
from rtl.bench.host import Host
from rtl.bench.task import Task, read_task
from sim.blocks.fetcher import MemoryTiming


@cocotb.test()
async def outputs_are_the_golden_functions(dut: Any) -> None:
    """All heads of each file, one after another, from an ideal memory."""
    task = read_task()
    for path in sorted(Path(task.given).glob("*.npz")):
        await _run_file(dut, task, path)


async def _run_file(dut: Any, task: Task, path: Path) -> None:
    with np.load(path) as given:
        heads = {name: given[name] for name in given.files}
    host = Host(task)
    host.list_tokens(np.arange(heads["key"].shape[1]))
    for number in range(len(heads["query"])):
        operands = (heads["query"][number], heads["key"][number], heads["value"][number])
        head = golden_head(
            task.config,
            operands,
            int(heads["values"]),
            bool(heads["lsb"]),
            int(heads["threshold"]),
            int(heads["multiplier"][number]),
            bool(heads.get("late", False)),
        )
        host.run_head(head, number % task.config.heads, gather=True)
    await check(dut, host, "full", MemoryTiming(20))
    outputs = np.array([row for row, _ in host.outputs])
    np.save(path.with_suffix(".outputs.npy"), outputs.reshape(heads["value"].shape))
