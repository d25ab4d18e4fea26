"""Rows of a trace for the products with weights of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from algos.columns import Array, Collector, Lists
from algos.static.facts import StaticFacts
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

_WHOLE: dict[str, Any] = {
    "expert": -1,
    "skipped": False,
    "pattern": "dense",
    "density": 1.0,
    "pattern_n": 0,
    "pattern_m": 0,
    "block_rows": 0,
    "block_columns": 0,
    "row_nonzeros": None,
    "block_ids": None,
}
_LISTS = ("row_nonzeros", "block_ids")


class Products:
    """Adds the rows of `matmul.parquet`. `facts`: what was pruned before the model ran."""

    def __init__(self, rows: Collector, shape: ModelShape, facts: StaticFacts | None) -> None:
        self._rows, self._shape, self._facts = rows, shape, facts
        self._running: dict[int, tuple[Array, AttentionStep]] = {}  # layers whose tokens are routed

    def layer(self, sequences: Array, step: AttentionStep, tokens_dense: int, heads: Array) -> None:
        """Add one layer's products; those of experts follow with `routed`.

        Args:
            sequences: (batch,) numbers.
            step: how many tokens were computed, and where.
            tokens_dense: tokens so far of the unpruned sequence.
            heads: (batch, alive) ids of the heads that run.
        """
        self._running[step.layer] = (sequences, step)
        tokens = step.query.shape[2]
        rows = {"m_dense": tokens if step.step else tokens_dense, "m": tokens}
        for operator, ((k_dense, k), (n_dense, n)) in self._widths(heads).items():
            sizes = {"k_dense": k_dense, "k": k, "n_dense": n_dense, "n": n}
            self._add(sequences, step, operator, rows | sizes)
            for side in ("before", "after"):  # matrices around a core that static pruning made
                if self._facts and (step.layer, f"{operator}.{side}") in self._facts.matmul:
                    square = dict.fromkeys(sizes, 0)  # the facts know its size
                    self._add(sequences, step, f"{operator}.{side}", rows | square)

    def routed(self, layer: int, chosen: Tensor) -> None:
        """Add the products of a layer's experts.

        Args:
            layer: the layer.
            chosen: (batch * token, experts a token) which each token passes through.
        """
        sequences, step = self._running[layer]
        batch, tokens = len(sequences), step.query.shape[2]
        taken = np.zeros((batch, tokens, self._shape.experts), bool)
        names = np.array(self._left(layer))[chosen.view(batch, tokens, -1).numpy()]
        np.put_along_axis(taken, names, True, 2)
        ids = step.query_ids.numpy().astype(np.int32)
        hidden, wide = self._shape.hidden, self._shape.intermediate
        for expert in range(self._shape.experts):
            mask = taken[:, :, expert]
            count = mask.sum(1)
            for operator in ("gate", "up", "down"):
                k, n = (wide, hidden) if operator == "down" else (hidden, wide)
                columns = {"m_dense": count, "m": count, "k_dense": k, "k": k, "n_dense": n, "n": n}
                given = {
                    "operator": operator,
                    "expert": expert,
                    "token_ids": Lists.of_mask(ids, mask),
                }
                self._add(sequences, step, f"{operator}.{expert}", columns | given)

    def _left(self, layer: int) -> list[int]:
        """Return the experts that are left, by their place in the model that runs."""
        every = range(self._shape.experts)
        stands = None if self._facts is None else self._facts.experts[layer]
        return [e for e in every if stands is None or int(stands[e]) == e]

    def _widths(self, heads: Array) -> dict[str, tuple[tuple[int, Any], tuple[int, Any]]]:
        """Return of each matrix ((k dense, k), (n dense, n))."""
        shape = self._shape
        attended, kv_attended = heads.shape[1] * shape.head_dim, self._kv_width(heads)
        dense, kv_dense = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        hidden, wide = (shape.hidden, shape.hidden), (shape.intermediate, shape.intermediate)
        widths: dict[str, tuple[tuple[int, Any], tuple[int, Any]]] = {
            "query": (hidden, (dense, attended)),
            "key": (hidden, (kv_dense, kv_attended)),
            "value": (hidden, (kv_dense, kv_attended)),
            "output": ((dense, attended), hidden),
        }
        if shape.experts:
            return widths | {"router": (hidden, (shape.experts, shape.experts))}
        widths |= {"up": (hidden, wide), "down": (wide, hidden)}
        return widths | ({"gate": (hidden, wide)} if shape.gated else {})

    def _kv_width(self, heads: Array) -> Array:
        """Return the columns of K, (batch,): a key head lives while one of its query heads does."""
        shape = self._shape
        alive = np.zeros((len(heads), shape.kv_heads), bool)
        np.put_along_axis(alive, heads // (shape.heads // shape.kv_heads), True, 1)
        width: Array = alive.sum(1) * shape.head_dim
        return width

    def _add(
        self, sequences: Array, step: AttentionStep, name: str, columns: dict[str, Any]
    ) -> None:
        """Add one matrix; `columns` are those of a trace without static pruning."""
        columns = {"operator": name} | columns
        count = len(sequences)
        if self._facts is not None or self._shape.experts:
            columns = _WHOLE | {"token_ids": Lists.unknown(count)} | columns
            columns |= {} if self._facts is None else self._facts.matmul[step.layer, name]
            if name.endswith((".before", ".after")):
                columns |= {"k_dense": columns["k"], "n_dense": columns["n"]}
            for lists in _LISTS:
                given = columns[lists]
                columns[lists] = (
                    Lists.unknown(count)
                    if given is None
                    else Lists.of_rows(np.tile(given, (count, 1)))
                )
        self._rows.add(
            "matmul", count, sequence=sequences, step=step.step, layer=step.layer, **columns
        )
