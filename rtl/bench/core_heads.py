"""Bench of the core on heads that files hold, such as those of a real model.

Each `*.heads.npz` of the folder that is given holds `query`, `key` and `value`, (heads, tokens,
channels) signed codes; `multiplier` (heads,); `values`, `lsb` and `threshold`, one number each, and
`late` where V comes after the selection. The outputs, (heads, tokens, channels) exact sums, are
written beside it as `NAME.outputs.npy`.

Each `*.layers.npz` holds the same with a layer as the first axis, `values` as a share, and
`keep_tokens` and `keep_heads` (layers,), how many stay behind each layer. The core alone decides
which: rows of tokens that it dropped are not read, heads that it dropped are not run. The tokens
and heads that stay, (layers, tokens) and (layers, heads) of 0 and 1, are written beside it as
`NAME.tokens.npy` and `NAME.alive.npy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from rtl.bench.core import check
from rtl.bench.head_pipeline import Head, golden_head
from rtl.bench.host import Host
from rtl.bench.task import read_task
from sim.blocks.fetcher import MemoryTiming


@cocotb.test()
async def outputs_are_the_golden_functions(dut: Any) -> None:
    """All heads of each file, one after another, from an ideal memory."""
    task = read_task()
    for path in sorted(Path(task.given).glob("*.heads.npz")):
        heads = _load(path)
        host = Host(task)
        host.list_tokens(np.arange(heads["key"].shape[1]))
        for number in range(len(heads["query"])):
            operands = tuple(heads[part][number] for part in ("query", "key", "value"))
            head = _head(host, operands, heads, number, int(heads["values"]))
            host.run_head(head, number % task.config.heads, gather=True)
        await check(dut, host, "full", MemoryTiming(20))
        outputs = np.array([row for row, _ in host.outputs]).reshape(heads["value"].shape)
        np.save(_beside(path, "outputs"), outputs)


@cocotb.test()
async def layers_prune_by_their_own_sums(dut: Any) -> None:
    """All layers of each file: what each selection keeps is all that the next layer sees."""
    task = read_task()
    for path in sorted(Path(task.given).glob("*.layers.npz")):
        layers = _load(path)
        host = Host(task)
        host.list_tokens(np.arange(layers["key"].shape[2]))
        heads = layers["query"].shape[1]
        every = np.arange(task.config.heads)
        host.list_heads((every < heads).astype(np.int64), np.zeros_like(every))
        tokens, alive = [], []
        for layer, keep in enumerate(layers["keep_tokens"].tolist()):
            for number in range(heads):
                rows = host.tokens
                operands = tuple(
                    layers[part][layer, number][rows] for part in ("query", "key", "value")
                )
                values = int(np.ceil(layers["values"] * len(rows)))
                host.run_head(_head(host, operands, layers, (layer, number), values), number, True)
            host.select_tokens(keep)
            host.select_heads(int(layers["keep_heads"][layer]))
            tokens.append(np.isin(np.arange(layers["key"].shape[2]), host.tokens))
            alive.append(host.state.alive[:heads].copy())
        await check(dut, host, "full", MemoryTiming(20))
        np.save(_beside(path, "tokens"), np.array(tokens, np.int64))
        np.save(_beside(path, "alive"), np.array(alive, np.int64))


def _head(host: Host, operands: Any, given: Mapping[str, Any], number: Any, values: int) -> Head:
    """Return a head of a file with what it must give."""
    return golden_head(
        host.config,
        operands,
        values,
        bool(given["lsb"]),
        int(given["threshold"]),
        int(given["multiplier"][number]),
        bool(given.get("late", False)),
    )


def _load(path: Path) -> dict[str, Any]:
    with np.load(path) as given:
        return {name: given[name] for name in given.files}


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name.split('.')[0]}.{what}.npy")
