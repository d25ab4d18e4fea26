"""Bench of the unpacker of a KV cache."""

from __future__ import annotations

from typing import Any

import cocotb

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.rows import spans
from rtl.bench.task import Task, read_task
from sim.blocks.kv_unpacker import pack_kv, row_beats
from sim.blocks.kv_unpacker_stream import kv_unpacker_moves
from sim.blocks.w2a8kv4_attention_stream import beat_order

HORIZON_CYCLES = 100_000
NAMES = ("key_scale", "key_zero", "value_scale", "value_zero")


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of all lengths, with random stalls."""
    task = read_task()
    random, block = task.random(pattern), task.config.block
    rows = [1, 2, 1, block, block + 1, 2 * block, 3 * block + 1, max(1, block - 1)]
    rows += random.integers(1, 4 * block + 1, 6).tolist()
    await check(dut, task, pattern, rows)


@cocotb.test()
async def a_beat_a_cycle(dut: Any) -> None:
    """Without stalls a row's beats are taken one a cycle, and the next row's a cycle later."""
    task = read_task()
    keys = 3 * task.config.block
    seen = await check(dut, task, "full", [keys] * 3)
    beats = row_beats(keys, task.config)
    for number in range(3):
        assert spans(seen["i"].cycles[number * beats : (number + 1) * beats])
    assert seen["i"].cycles[beats] == seen["i"].cycles[beats - 1] + 2


@cocotb.test()
async def tokens_that_wait(dut: Any) -> None:
    """Codes go on until the metadata of two blocks and a beat wait; then nothing does."""
    task = read_task()
    keys = 5 * task.config.block
    late = [False] * (4 * row_beats(keys, task.config))
    await check(dut, task, "full", [keys, 1], late)


async def check(
    dut: Any, task: Task, pattern: str, rows: list[int], late_tokens: list[bool] | None = None
) -> dict[str, Seen]:
    """Run rows one after another; compare tokens, codes and every cycle."""
    config, random = task.config, task.random(pattern + " stalls")
    offer, token_ready = stalls(random, pattern, HORIZON_CYCLES)
    token_ready = token_ready if late_tokens is None else late_tokens
    offer_command, ready = stalls(random, pattern, HORIZON_CYCLES)
    raw: list[int] = []
    tokens: list[dict[str, int]] = []
    beats: list[list[int]] = []
    for keys in rows:
        codes = random.integers(0, 256, (2, keys, config.dsps))
        fields = random.integers(0, (1 << 16, 16, 1 << 16, 16), (keys, 4))
        raw += [
            task.pack("i", beat) for beat in pack_kv(config, codes[0], codes[1], fields).tolist()
        ]
        tokens += [dict(zip(NAMES, token, strict=True)) for token in fields.tolist()]
        sources = [iter(kind.tolist()) for kind in codes]
        beats += [next(sources[beat.value]) for beat in beat_order(keys, config.block)]
    seen = await run(
        dut,
        {
            "command": Source([task.pack("command", {"keys": keys}) for keys in rows],
                              offer_command),
            "i": Source(raw, offer),
        },
        {"tokens": Sink(len(tokens), token_ready), "beats": Sink(len(beats), ready)},
        HORIZON_CYCLES,
    )  # fmt: skip
    assert [task.unpack("tokens", bits) for bits in seen["tokens"].items] == tokens
    assert [task.unpack("beats", bits) for bits in seen["beats"].items] == beats
    moves = kv_unpacker_moves(config, rows, offer_command, offer, token_ready, ready)
    for name, cycles in moves._asdict().items():
        assert seen[name].cycles == cycles, name
    return seen
