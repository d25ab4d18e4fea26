"""How busy the hardware core is, by its timing model, which Verilator confirms to the cycle.

The core of the paper's size, `IdealMemory` style: every channel answers in order after a fixed
latency. Probabilities are random, so selections take the passes of random values.
"""

from __future__ import annotations

import numpy as np

from sim.blocks.core import CoreConfig
from sim.blocks.core_stream import CoreHead, CoreStalls, core_moves
from sim.blocks.fetcher import Matrix, MemoryTiming
from sim.blocks.head_pipeline_stream import HeadWork, QueryWork
from sim.blocks.topk import topk_golden
from sim.blocks.topk_stream import Selection, passes_cycles, rows_leaving

LATENCIES_CYCLES = (20, 60)
WORKLOADS = (
    ("prefill, 12 heads, 128 queries, 128 keys", 12, 128, 128, 1.0, False),
    ("a token, 16 heads, 1024 keys", 16, 1, 1024, 1.0, False),
    ("the same, V selected, fetched whole", 16, 1, 1024, 0.3, False),
    ("the same, V fetched after selection", 16, 1, 1024, 0.3, True),
)


def make_head(
    config: CoreConfig, random: np.random.Generator, base: int, queries: int, keys: int,
    share: float, late: bool,
) -> CoreHead:  # fmt: skip
    """Return a head whose matrices lie one behind another from a transaction on."""
    values = int(share * keys)
    rows = [random.integers(0, 1 << config.width_bits, keys) for _ in range(queries)]
    size = config.row_transactions(0)
    kept = topk_golden(config.topk, rows[0], values).tolist() if late else range(keys)
    asked = [row if row in set(kept) else None for row in range(keys)]
    matrices = [
        Matrix(base + place * keys * size, size, indices)
        for place, indices in enumerate((range(queries), range(keys), asked, [0]))
    ]
    work = [_query(config, row, values) for row in rows]
    return CoreHead(HeadWork(keys, work, late=late), *matrices)


def _query(config: CoreConfig, row: np.ndarray, values: int) -> QueryWork:
    if values >= len(row):
        return QueryWork()
    selection, kept = Selection(row, values), topk_golden(config.topk, row, values)
    lines = [
        (number, max(1, len(set(kept[kept // config.topk_lanes == number] // config.rows))))
        for number in rows_leaving(config.topk, selection)
    ]
    return QueryWork(False, passes_cycles(config.topk, selection), lines)


def main() -> None:
    """Print cycles and shares of each workload at each latency."""
    config = CoreConfig()
    print(f"core, 2 x {config.multipliers} multipliers, {config.memory_channels} channels of "
          f"{config.transaction_bits // 8} B a cycle\n")  # fmt: skip
    print(f"{'workload':42}{'latency':>8}{'cycles':>9}{'KiB read':>10}{'memory':>8}{'Q.K':>6}")
    for name, heads, queries, keys, share, late in WORKLOADS:
        for latency in LATENCIES_CYCLES:
            random = np.random.default_rng(1)
            given = [
                make_head(config, random, head << 20, queries, keys, share, late)
                for head in range(heads)
            ]
            moves = core_moves(config, given, MemoryTiming(latency), CoreStalls())
            cycles, reads = moves.o[-1] + 1, sum(map(len, moves.answers))
            memory = reads / config.memory_channels / cycles
            array = heads * queries * -(-keys // config.rows) / cycles
            size = reads * config.transaction_bits // 8 / 1024
            print(f"{name:42}{latency:8}{cycles:9}{size:10.0f}{memory:8.0%}{array:6.0%}")


if __name__ == "__main__":
    main()
