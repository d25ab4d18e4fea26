"""Bench of the weight unpacker."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task
from sim.blocks.weight_unpacker import (
    Item,
    UnpackerStalls,
    beat_kinds,
    unpack_golden,
    unpacker_moves,
)
from workloads.packed import BEAT_BITS, PackedMatrix, WeightFormat, pack


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Matrices of one beat, of whole superblocks and of parts of them, with random stalls."""
    task = read_task()
    random, block = task.random(pattern), task.config.data_beats
    counts = [1, block, block + 1, 2 * block - 1, 2, *random.integers(1, 3 * block, 6).tolist()]
    await check(dut, task, pattern, [drawn(task, random, count) for count in counts])


@cocotb.test()
async def a_beat_a_cycle(dut: Any) -> None:
    """Superblocks and matrices follow each other without a gap."""
    task = read_task()
    random = task.random("throughput")
    counts = [2 * task.config.data_beats, 3, task.config.data_beats]
    seen = await check(dut, task, "full", [drawn(task, random, count) for count in counts])
    assert seen["i"].cycles == list(range(1, 1 + len(seen["i"].cycles)))


@cocotb.test()
async def a_packed_matrix(dut: Any) -> None:
    """The default format of `workloads.packed`: each item is a group of four rows."""
    task = read_task()
    config, form = task.config, WeightFormat()
    if (config.beat_bits, config.group_bits) != (BEAT_BITS, form.data_bits(form.group)):
        return
    random, rows, columns = task.random("packed"), 12, 15 * form.group
    matrix = PackedMatrix(
        format=form,
        columns=columns,
        codes=random.integers(0, 4, (rows, columns // 2)).astype(np.uint8),
        positions=np.sort(
            random.permuted(np.tile(np.arange(4), (rows, columns // 4, 1)), axis=2)[..., :2]
        ).reshape(rows, -1).astype(np.uint8),
        scales=random.random((rows, columns // form.group)).astype(np.float16),
        zeros=random.integers(0, 4, (rows, columns // form.group)).astype(np.uint8),
    )  # fmt: skip
    beats = [int.from_bytes(beat.tobytes(), "little") for beat in pack(matrix)]
    count = rows * columns // form.group // config.groups
    seen = await check(dut, task, "random", [(count, beats)])
    items = [task.unpack("o", bits) for bits in seen["o"].items]
    assert [Item(item["data"], item["metadata"]) for item in items] == packed_items(matrix)


def packed_items(matrix: PackedMatrix) -> list[Item]:
    """Return what four rows at a time give, group by group."""
    kept = matrix.format.group // 2
    assert matrix.positions is not None
    items = []
    for row in range(0, matrix.rows, 4):
        for group in range(matrix.scales.shape[1]):
            part = slice(group * kept, (group + 1) * kept)
            found = Item([], [])
            for here in range(row, row + 4):
                words = (*matrix.codes[here, part], *matrix.positions[here, part])
                found.data.append(sum(int(word) << 2 * at for at, word in enumerate(words)))
                scale = int(matrix.scales[here, group : group + 1].view(np.uint16)[0])
                found.metadata.append(scale | int(matrix.zeros[here, group]) << 16)
            items.append(found)
    return items


def drawn(task: Task, random: np.random.Generator, data_beats: int) -> tuple[int, list[int]]:
    """Return a matrix of random beats."""
    count, size = len(beat_kinds(task.config, data_beats)), -(-task.config.beat_bits // 8)
    mask = (1 << task.config.beat_bits) - 1
    beats = [int.from_bytes(random.bytes(size), "little") & mask for _ in range(count)]
    return data_beats, beats


async def check(dut: Any, task: Task, pattern: str, matrices: list[tuple[int, list[int]]]) -> Any:
    """Run matrices one after another; compare items and every cycle; return what moved."""
    config, random = task.config, task.random(pattern + " stalls")
    expected = [item for given in matrices for item in unpack_golden(config, *given)]
    beats = [task.pack("i", {"beat": beat}) for _, given in matrices for beat in given]
    requests = [task.pack("request", {"beats": count}) for count, _ in matrices]
    horizon = 40 * len(beats) + 100
    offer, ready = stalls(random, pattern, horizon)
    offer_request, _ = stalls(random, pattern, horizon)
    seen = await run(
        dut,
        {"request": Source(requests, offer_request), "i": Source(beats, offer)},
        {"o": Sink(len(expected), ready)},
        horizon,
    )
    items = [task.unpack("o", bits) for bits in seen["o"].items]
    assert [Item(item["data"], item["metadata"]) for item in items] == expected
    counts = [count for count, _ in matrices]
    moves = unpacker_moves(config, counts, UnpackerStalls(offer_request, offer, ready))
    assert seen["request"].cycles == moves.requests
    assert seen["i"].cycles == moves.beats
    assert seen["o"].cycles == moves.items
    return seen
