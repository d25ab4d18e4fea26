"""Bench of the W2A8KV4 engine on calls that files hold, such as a layer of a real decoder.

Each `*.calls.npz` of the folder that is given holds the calls of a run in their order, `N.` before
the names of call N. A matrix: `activations` (tokens, inputs), `codes`, `positions`, `scales` and
`zeros` as of `Linear`. All tokens but the last one run in matrix mode, where they are pairs, the
last one in vector mode. Rows of attention: `queries` (rows, channels), `multiplier` and `shift`
(rows,), `keys` (rows,) how many, and of all rows, one behind another, `k`, `k_scales`, `k_zeros`,
`v`, `v_scales`, `v_zeros`. A call begins when the one before has given all its outputs. The
outputs, (tokens, rows of the matrix) sums or (rows, channels), are written beside it as
`NAME.outputs.npz`, by call, with `cycles`: the last one in which something moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import Seen, Sink, Source, run
from rtl.bench.task import Task, read_task
from rtl.bench.w2a8kv4 import Command, beats_of, loads_of, payload
from rtl.bench.w2a8kv4_attention import Head, items_of
from sim.blocks.w2a8kv4 import Linear, check_linear

Array = np.ndarray[Any, Any]
_SOURCES = ("load", "command", "weights", "row", "query", "beats", "tokens")


@cocotb.test()
async def calls_run_one_behind_another(dut: Any) -> None:
    """All calls of each file; the outputs are compared by whoever made the files."""
    task = read_task()
    for path in sorted(Path(task.given).glob("*.calls.npz")):
        with np.load(path) as given:
            calls = _calls({name: given[name] for name in given.files})
        script = _Script(task)
        for call in calls:
            script.add(call)
        seen = await script.run(dut)
        outputs = script.outputs(seen)
        last = max(max(stream.cycles) for stream in seen.values())
        target = path.with_name(path.name.replace(".calls.npz", ".outputs.npz"))
        np.savez(target, cycles=last, **outputs)


def _calls(arrays: Mapping[str, Array]) -> list[dict[str, Array]]:
    """Return the arrays of each call, in order."""
    found: dict[int, dict[str, Array]] = {}
    for name, array in arrays.items():
        number, _, own = name.partition(".")
        found.setdefault(int(number), {})[own] = array
    return [found[number] for number in sorted(found)]


@dataclass
class _Script:
    """Items of all streams, what waits for what, and where the outputs of a call are."""

    task: Task
    items: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in _SOURCES})
    after: dict[str, dict[int, tuple[str, int]]] = field(
        default_factory=lambda: {name: {} for name in _SOURCES}
    )
    expected: dict[str, int] = field(default_factory=lambda: {"sums": 0, "outputs": 0})
    parts: list[list[tuple[str, int, tuple[int, ...]]]] = field(default_factory=list)
    """Of each call: stream, first item and shape of the outputs."""
    before: tuple[str, int] | None = None  # what the next call waits for

    def add(self, call: Mapping[str, Array]) -> None:
        """Append a call."""
        self.parts.append([])
        if "activations" in call:
            tokens = len(call["activations"])
            whole = (tokens - 1) // 2 * 2
            for part in (slice(0, whole), *(slice(t, t + 1) for t in range(whole, tokens))):
                if part.stop > part.start:
                    self._matrix(call, part)
        else:
            self._rows(call)

    def _matrix(self, call: Mapping[str, Array], tokens: slice) -> None:
        given = Linear(
            activations=call["activations"][tokens],
            **{name: call[name] for name in ("codes", "positions", "scales", "zeros")},
        )
        check_linear(self.task.config, given)
        units = self.task.config.units
        command = Command(given, 0, len(given.codes) // units)
        self._wait("load")
        self.items["load"] += loads_of(self.task, command)
        self.after["command"][len(self.items["command"])] = ("load", len(self.items["load"]))
        self.items["command"].append(payload(self.task, command))
        self.items["weights"] += beats_of(self.task, command)
        self._expect("sums", (command.blocks, len(given.activations), units))

    def _rows(self, call: Mapping[str, Array]) -> None:
        self._wait("row")
        channels, lanes = call["queries"].shape[1], self.task.config.lanes
        ends = np.cumsum(call["keys"])
        for row, (end, keys) in enumerate(zip(ends.tolist(), call["keys"].tolist(), strict=True)):
            own = {
                name: call[name][end - keys : end]
                for name in ("k", "k_scales", "k_zeros", "v", "v_scales", "v_zeros")
            }
            numbers = {name: int(call[name][row]) for name in ("multiplier", "shift")}
            head = Head(q=call["queries"][row], **own, **numbers)
            for name, items in items_of(self.task, head, self.task.config.attention, "row").items():
                self.items[name] += items
        self._expect("outputs", (len(ends), channels // lanes, lanes))

    def _wait(self, stream: str) -> None:
        if self.before is not None:
            self.after[stream][len(self.items[stream])] = self.before

    def _expect(self, stream: str, shape: tuple[int, ...]) -> None:
        self.parts[-1].append((stream, self.expected[stream], shape))
        self.expected[stream] += shape[0] * shape[1]
        self.before = (stream, self.expected[stream])

    async def run(self, dut: Any) -> dict[str, Seen]:
        """Run all calls."""
        return await run(
            dut,
            {name: Source(self.items[name], (), self.after[name]) for name in _SOURCES},
            {name: Sink(count) for name, count in self.expected.items()},
            10_000_000,
        )

    def outputs(self, seen: Mapping[str, Seen]) -> dict[str, Array]:
        """Return the outputs of each call, under its number."""
        values = {
            "sums": [self.task.unpack("sums", bits)["sums"] for bits in seen["sums"].items],
            "outputs": [
                self.task.unpack("outputs", bits)["data"] for bits in seen["outputs"].items
            ],
        }
        found = {}
        for number, parts in enumerate(self.parts):
            arrays = []
            for stream, first, shape in parts:
                items = np.array(values[stream][first : first + shape[0] * shape[1]], np.int64)
                own = items.reshape(shape)
                if stream == "sums":  # (blocks, tokens, units) to (tokens, rows)
                    own = own.transpose(1, 0, 2)
                    arrays.append(own.reshape(len(own), -1))
                else:
                    arrays.append(own.reshape(shape[0], -1))
            found[str(number)] = np.concatenate(arrays)
        return found
