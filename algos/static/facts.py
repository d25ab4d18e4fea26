"""What a static pruning means for hardware: columns of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.linears import Slot, block_slots
from algos.static.apply import kept_heads
from algos.static.base import BlockPruning, PrunedWeight, Pruning

if TYPE_CHECKING:
    from torch import Tensor

Columns = dict[str, Any]  # of the trace's tables


@dataclass(frozen=True, kw_only=True)
class StaticFacts:
    """What a trace says of a pruned model, whatever runs on it."""

    matmul: dict[tuple[int, str], Columns]  # by layer and name of the matrix
    tokens: dict[int, Columns]  # by layer
    heads: tuple[Tensor | None, ...]  # (heads,) bool a layer; None: all live
    kv_heads: tuple[Tensor | None, ...]  # (kv_heads,) whose each one is; None: its own
    experts: tuple[Tensor | None, ...]  # (experts,) who stands for each one; None: all are left
    kept_weights: int  # of the matrices of all blocks
    dense_weights: int

    @property
    def kept_ratio(self) -> float:
        """Return the share of weights kept."""
        return self.kept_weights / self.dense_weights


def trace_facts(model: Any, pruning: Pruning) -> StaticFacts:
    """Return what the trace of a model says after a pruning; the model is the dense one."""
    matmul: dict[tuple[int, str], Columns] = {}
    tokens, kept, dense = {}, 0, 0
    for layer, (slots, block) in enumerate(zip(block_slots(model), pruning.blocks, strict=True)):
        for name, slot in slots.items():
            columns, weights = _matrix(slots, slot, block)
            matmul[layer, name] = columns
            kept += weights
            for side, wrapper in _wrappers(slot, block).items():
                matmul[layer, f"{name}.{side}"] = wrapper
                kept += round(wrapper["density"] * wrapper["k"] * wrapper["n"])
            dense += slot.weight.numel()
        tokens[layer] = {"attention_skipped": block.skip_attention, "ffn_skipped": block.skip_ffn}
    return StaticFacts(
        matmul=matmul,
        tokens=tokens,
        heads=tuple(block.heads for block in pruning.blocks),
        kv_heads=tuple(block.kv_heads for block in pruning.blocks),
        experts=tuple(block.experts for block in pruning.blocks),
        kept_weights=kept,
        dense_weights=dense,
    )


def _matrix(slots: dict[str, Slot], slot: Slot, block: BlockPruning) -> tuple[Columns, int]:
    """Return the columns of one matrix, and the weights that are left."""
    import torch

    given = block.weights.get(slot.name)
    kept = torch.ones_like(slot.weight, dtype=torch.bool) if given is None else given.stored != 0
    rows, columns = _cut(slots, slot, block)
    kept = kept[rows][:, columns]
    outputs, inputs = kept.shape
    cut = kept.numel() < slot.weight.numel()
    skipped = _skipped(slot, block)
    weights = 0 if skipped else int(kept.sum())
    found: Columns = {
        "operator": slot.operator,
        "expert": slot.expert,
        "k": inputs,
        "n": outputs,
        "skipped": skipped,
        "pattern": "structured" if cut else "dense",
        "density": float(kept.float().mean()) if kept.numel() else 1.0,
    }
    if given is not None and given.pattern not in ("dense", "structured"):
        found |= _pattern(given, kept)
    return found, weights


def _wrappers(slot: Slot, block: BlockPruning) -> dict[str, Columns]:
    """Return the columns of the block-diagonal matrices before and after a core."""
    given = block.weights.get(slot.name)
    if given is None or given.core is None:
        return {}
    found = {}
    for side, size, width in zip(
        ("after", "before"), slot.weight.shape, given.wrappers, strict=True
    ):
        count = size // width
        found[side] = {
            "operator": f"{slot.operator}_{side}",
            "expert": slot.expert,
            "k": size,
            "n": size,
            "skipped": _skipped(slot, block),
            "pattern": "block",
            "density": 1 / count,
            "pattern_n": 0,
            "pattern_m": 0,
            "block_rows": width,
            "block_columns": width,
            "row_nonzeros": np.full(size, width, np.int32),
            "block_ids": np.arange(count, dtype=np.int32) * (count + 1),
        }
    return found


def _pattern(given: PrunedWeight, kept: Tensor) -> Columns:
    found: Columns = {
        "pattern": given.pattern,
        "pattern_n": given.n,
        "pattern_m": given.m,
        "block_rows": given.block_rows,
        "block_columns": given.block_columns,
    }
    if given.pattern == "n:m":
        return found
    found["row_nonzeros"] = kept.sum(1).numpy().astype(np.int32)
    if given.pattern == "block" and kept.numel():
        rows, columns = given.block_rows, given.block_columns
        outputs, inputs = kept.shape
        blocks = kept.view(outputs // rows, rows, inputs // columns, columns).any(3).any(1)
        found["block_ids"] = blocks.reshape(-1).nonzero()[:, 0].numpy().astype(np.int32)
    return found


def _cut(slots: dict[str, Slot], slot: Slot, block: BlockPruning) -> tuple[Tensor, Tensor]:
    """Return which outputs and inputs of a matrix are left, bool."""
    import torch

    rows, columns = (torch.ones(size, dtype=torch.bool) for size in slot.weight.shape)
    if block.heads is not None:
        queries, keys = kept_heads(slots, block.heads)
        rows = {"query": queries, "key": keys, "value": keys}.get(slot.operator, rows)
        columns = queries if slot.operator == "output" else columns
    if block.kv_heads is not None and slot.operator in ("key", "value"):
        own = block.kv_heads == torch.arange(len(block.kv_heads))
        rows = rows & own.repeat_interleave(len(rows) // len(own))
    if block.neurons is not None and slot.expert < 0:
        rows = block.neurons if slot.operator in ("up", "gate") else rows
        columns = block.neurons if slot.operator == "down" else columns
    if block.experts is not None and slot.operator == "router":
        rows = block.experts == torch.arange(len(block.experts))
    return rows, columns


def _skipped(slot: Slot, block: BlockPruning) -> bool:
    if slot.operator in ("query", "key", "value", "output"):
        return block.skip_attention
    if block.skip_ffn:
        return True
    if slot.expert < 0 or block.experts is None:
        return False
    return int(block.experts[slot.expert]) != slot.expert
