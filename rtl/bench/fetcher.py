"""Bench of the matrix fetcher, with a memory of several channels."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Memory, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task
from sim.blocks.fetcher import Matrix, MemoryTiming, beats_of, fetcher_moves

HORIZON = 40_000


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Matrices of all row sizes: rows in order, gathered, repeated, left out; stalls everywhere."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    matrices = []
    for _ in range(24):
        size = int(random.integers(1, config.row_transactions + 1))
        rows = int(random.integers(1, 6 * config.lanes + 1))
        if random.random() < 0.4:
            indices = list(range(rows))
        elif random.random() < 0.8:
            indices = sorted(random.choice(4 * rows, rows, replace=False).tolist())
        else:
            indices = random.integers(0, 3, rows).tolist()
        if random.random() < 0.5:
            indices = leave_out(random, config.lanes, indices)
        base = int(random.integers(0, 1 << (config.address_bits - 2)))
        matrices.append(Matrix(base, size, indices))
    accepts, answers = zip(
        *(stalls(random, pattern, HORIZON) for _ in range(config.channels)), strict=True
    )
    timing = MemoryTiming(int(random.integers(1, 30)), accepts, answers)
    await check(dut, task, pattern, matrices, timing)


@cocotb.test()
async def rows_in_order_use_every_channel(dut: Any) -> None:
    """A long matrix of full rows, read in order from an ideal memory, in full."""
    task = read_task()
    config = task.config
    matrix = Matrix(0, config.row_transactions, range(40 * config.lanes))
    await check(dut, task, "full", [matrix], MemoryTiming(1))


async def check(
    dut: Any, task: Task, pattern: str, matrices: list[Matrix], timing: MemoryTiming
) -> None:
    """Fetch matrices one after another; compare rows, and every cycle on every port."""
    config, random = task.config, task.random(pattern + " stalls")
    requests = [task.pack("request", {"base": m.base, "size": m.size}) for m in matrices]
    beats = [
        {"index": [row or 0 for row in rows], "mask": mask_of(rows), "last": rows is parts[-1]}
        for matrix in matrices
        for parts in [beats_of(config, matrix)]
        for rows in parts
    ]
    offer_request, _ = stalls(random, pattern, HORIZON)
    offer, ready = stalls(random, pattern, HORIZON)
    memory = Memory(config.channels, timing, word(config.transaction_bits))
    seen = await run(
        dut,
        {
            "request": Source(requests, offer_request),
            "i": Source([task.pack("i", beat) for beat in beats], offer),
        },
        {"o": Sink(len(beats), ready)},
        HORIZON,
        memory,
    )
    assert [task.unpack("o", bits) for bits in seen["o"].items] == leaving(config, matrices)
    moves = fetcher_moves(config, matrices, timing, offer_request, offer, ready)
    assert seen["request"].cycles == moves.requests
    assert seen["i"].cycles == moves.indices
    assert [[cycle for cycle, _ in port] for port in memory.addresses] == moves.addresses
    assert memory.answers == moves.answers
    assert seen["o"].cycles == moves.rows
    for channel, port in enumerate(memory.addresses):
        assert all(address % config.channels == channel for _, address in port)


def leave_out(random: np.random.Generator, lanes: int, indices: list[int]) -> list[int | None]:
    """Return the indices without some, and without whole beats."""
    share = random.random()
    empty = random.random(len(indices)) < 0.2  # by beat
    return [
        None if random.random() < share or empty[place // lanes] else row
        for place, row in enumerate(indices)
    ]


def mask_of(rows: list[int | None]) -> int:
    """Return the lanes of a beat that fetch."""
    return sum((row is not None) << lane for lane, row in enumerate(rows))


def leaving(config: Any, matrices: list[Matrix]) -> list[dict[str, Any]]:
    """Return the row beats that must leave."""
    read, bits = word(config.transaction_bits), config.transaction_bits
    found = []
    for matrix in matrices:
        parts = beats_of(config, matrix)
        for rows in parts:
            values = [
                0
                if row is None
                else sum(
                    read(matrix.base + row * matrix.size + number) << (number * bits)
                    for number in range(matrix.size)
                )
                for row in rows
            ]
            found.append(
                {
                    "data": values + [0] * (config.lanes - len(rows)),
                    "mask": mask_of(rows),
                    "last": rows is parts[-1],
                }
            )
    return found


def word(bits: int) -> Any:
    """Return a function from an address to what the memory holds there: noise."""

    def read(address: int) -> int:
        words = np.random.default_rng(address).integers(0, 1 << 32, -(-bits // 32)).tolist()
        return sum(part << (32 * place) for place, part in enumerate(words)) & ((1 << bits) - 1)

    return read
