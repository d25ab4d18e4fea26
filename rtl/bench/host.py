"""What a host does with the core: puts heads into memory, gives commands, and knows the answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from rtl.bench.cascade import command_fields, kept_rows
from rtl.bench.head_pipeline import Head, asked_late, head_fields
from rtl.bench.task import Task
from sim.blocks.cascade import HEADS, SELECT_HEADS, SELECT_TOKENS, TOKENS, CascadeState, Kept
from sim.blocks.cascade_stream import Command, selection_work
from sim.blocks.converter import FULL, LSB, MSB, pack_rows
from sim.blocks.core_stream import CoreHead, Step
from sim.blocks.fetcher import Matrix

_NO_HEAD = dict.fromkeys(("queries", "keys", "values", "lsb", "late", "threshold", "multiplier"), 0)
_BASES = ("query", "key", "low", "value")


class Host:
    """A program of commands, step by step, and what it must give.

    Attributes:
        commands: payloads in order.
        words: memory, address -> transaction.
        heads, ending: for the timing model.
        outputs: (row, whether it is its head's last) in order.
        kept: rows that selections give.
        skipped: heads that are not run.
        tokens: numbers of the tokens in the list, in order.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.state = CascadeState(self.config.cascade)
        self.commands: list[int] = []
        self.words: dict[int, int] = {}
        self.heads: list[CoreHead] = []
        self.ending: list[Step] = []
        self.outputs: list[tuple[list[int], bool]] = []
        self.kept: list[dict[str, Any]] = []
        self.skipped = 0
        self.tokens: np.ndarray = np.zeros(0, np.int64)
        self._free = 0  # first transaction that is not used

    def list_tokens(self, tokens: Any, importance: Any = None) -> None:
        """Write a new token list, with no importance or a given one."""
        self.tokens, lanes = np.asarray(tokens), self.config.topk_lanes
        sums = np.zeros(len(self.tokens), np.int64) if importance is None else importance
        padding = np.zeros(-len(self.tokens) % lanes, np.int64)
        numbers, sums = (np.concatenate([part, padding]) for part in (self.tokens, sums))
        for row in range(len(numbers) // lanes):
            part = slice(row * lanes, (row + 1) * lanes)
            self.state.list_tokens(row, numbers[part], sums[part])
            self._cascade(Command(TOKENS, row, numbers[part].tolist(), sums[part].tolist()))

    def list_heads(self, alive: Any, importance: Any) -> None:
        """Write which heads are alive, and their importance."""
        lanes = self.config.topk_lanes
        padding = np.zeros(-len(alive) % lanes, np.int64)
        alive, sums = (np.concatenate([part, padding]) for part in (alive, importance))
        for row in range(len(alive) // lanes):
            part = slice(row * lanes, (row + 1) * lanes)
            self.state.list_heads(row, alive[part], sums[part])
            self._cascade(Command(HEADS, row, (), sums[part].tolist(), alive[part].tolist()))

    def select_tokens(self, keep: int) -> None:
        """Keep the most important tokens of the list."""
        command = Command(SELECT_TOKENS, count=len(self.tokens), keep=keep)
        kept = self.state.select_tokens(command.count, keep)
        self.tokens = np.concatenate([numbers for numbers, _ in kept.rows])
        self._cascade(command, kept)

    def select_heads(self, keep: int) -> None:
        """Keep the most important of the heads that are alive."""
        self._cascade(Command(SELECT_HEADS, keep=keep), self.state.select_heads(keep))

    def run_head(self, head: Head, number: int, gather: bool) -> None:
        """Put a head's rows into memory and run it, unless it is not alive.

        Args:
            head: operands of the tokens that are alive.
            number: among the heads of the layer.
            gather: whether queries are tokens of the list, else rows from 0 on.
        """
        matrices = self._place(head, gather)
        bases = {f"{name}_base": matrices[name].base for name in _BASES}
        fields = {"is_head": 1, "number": number, "gather": gather, "head": head_fields(head)}
        self._command(bases | fields)
        if not self.state.alive[number]:
            self.skipped += 1
            self.ending.append(Step(cascades=False))
            return
        self.state.add_probabilities(head.probabilities)
        self.state.add_output(number, head.output)
        self.heads.append(CoreHead(head.work, **matrices, before=self.ending))
        self.ending = []
        last = len(head.output) - 1
        self.outputs += [(row, place == last) for place, row in enumerate(head.output.tolist())]

    @property
    def transactions(self) -> Counter[int]:
        """How often each transaction must be read."""
        found: Counter[int] = Counter()
        for head in self.heads:
            matrices = [head.query, head.key, head.value]
            if any(query.recompute for query in head.work.queries):
                matrices.append(head.low)
            found.update(address for matrix in matrices for address in matrix.transactions)
        return found

    def _cascade(self, command: Command, kept: Kept | None = None) -> None:
        config = self.config.cascade
        self._command({"cascade": command_fields(config, command)})
        work = selection_work(config, command.kind, kept) if kept else None
        self.ending.append(Step(cascades=True, selection=work))
        self.kept += kept_rows(config, [kept] if kept else [])

    def _command(self, fields: dict[str, Any]) -> None:
        empty = {"is_head": 0, "number": 0, "gather": 0, "head": _NO_HEAD}
        empty |= {f"{name}_base": 0 for name in _BASES}
        empty["cascade"] = command_fields(self.config.cascade, Command(TOKENS))
        self.commands.append(self.task.pack("command", empty | fields))

    def _place(self, head: Head, gather: bool) -> dict[str, Matrix]:
        """Put a head's rows into memory; return where they lie, of a late V what is fetched."""
        config, queries = self.config, len(head.query)
        parts = {
            "query": (head.query, self.tokens[:queries] if gather else np.arange(queries), FULL),
            "key": (head.key, self.tokens, MSB if head.lsb else FULL),
            "value": (head.value, self.tokens, FULL),
            "low": (head.key, self.tokens, LSB),
        }
        matrices = {}
        for name, (matrix, indices, plane) in parts.items():
            size = config.row_transactions(plane)
            matrices[name] = Matrix(self._free, size, indices.tolist())
            self._store(matrices[name], pack_rows(config.converter, matrix, plane))
            self._free += config.tokens * size
        self._free += len(self.heads) % 7  # rows begin anywhere
        if head.late:
            matrices["value"] = matrices["value"]._replace(indices=self._kept_rows(head))
        return matrices

    def _kept_rows(self, head: Head) -> list[int | None]:
        """Return the tokens of the rows that a late head asks for, None for one left out."""
        lanes = self.config.topk_lanes
        return [
            int(self.tokens[asked["row"] * lanes + lane]) if asked["mask"] >> lane & 1 else None
            for asked in asked_late(self.task, head)
            for lane in range(lanes)
        ]

    def _store(self, matrix: Matrix, rows: list[int]) -> None:
        """Put rows into memory, transaction by transaction."""
        bits = self.config.transaction_bits
        for index, row in zip(matrix.indices, rows, strict=True):
            for part in range(matrix.size):
                word = (row >> (part * bits)) & ((1 << bits) - 1)
                self.words[matrix.base + index * matrix.size + part] = word
