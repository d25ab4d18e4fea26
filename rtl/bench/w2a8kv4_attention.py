"""Bench of the attention path: whole rows from codes in memory's order to outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.rows import spans
from rtl.bench.task import Task, read_task
from sim.blocks.w2a8kv4_attention import W2A8KV4AttentionConfig, attend
from sim.blocks.w2a8kv4_attention_stream import SOURCES, Row, attention_moves

HORIZON_CYCLES = 200_000
LARGEST = 0x53FF  # FP16 bits of the largest number below 64


@dataclass
class Head:
    """A query, and a cache of codes, FP16 bits of scales and zero points."""

    q: Any
    k: Any
    k_scales: Any
    k_zeros: Any
    v: Any
    v_scales: Any
    v_zeros: Any
    multiplier: int
    shift: int

    @property
    def size(self) -> Row:
        """Keys and channels."""
        return Row(*self.k.shape)

    def outputs(self, block: int) -> list[int]:
        """Return the golden outputs."""
        tokens = (self.k, self.k_scales, self.k_zeros, self.v, self.v_scales, self.v_zeros)
        found: list[int] = attend(
            self.q, *tokens, self.multiplier, self.shift, block=block
        ).tolist()
        return found


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of all lengths and widths, of ordinary and extreme keys, with random stalls."""
    task = read_task()
    random, config = task.random(pattern), task.config
    block, lanes = config.block, config.lanes
    lengths = [1, 2, 3, block - 1, block, block + 1, 2 * block - 1, 2 * block, 2 * block + 1]
    lengths += [3 * block + int(random.integers(1, block + 1)), 1, 2, 1]
    heads = []
    for keys in lengths:
        channels = lanes * int(random.integers(1, config.channels // lanes + 1))
        if keys:
            heads.append(some_head(random, keys, channels))
    heads += [some_head(random, 2 * block + 1, config.channels), lanes_only(task, random)]
    heads += extremes(task, random)
    random.shuffle(heads)  # type: ignore[arg-type]
    await check(dut, task, pattern, heads)


@cocotb.test()
async def a_beat_a_cycle(dut: Any) -> None:
    """Without stalls a long row's beats are taken one a cycle, but where weights are awaited.

    That is at its first values and its last ones. A block of an odd number of keys costs a cycle
    more: its last key is multiplied alone.
    """
    task = read_task()
    config, random = task.config, task.random("full")
    keys, block = 6 * config.block, config.block
    heads = [some_head(random, keys, config.channels) for _ in range(2)]
    cycles = (await check(dut, task, "full", heads))["beats"].cycles
    if block % 2 == 0:
        for row in (cycles[: 2 * keys], cycles[2 * keys :]):
            assert spans(row[: 2 * block])
            assert spans(row[2 * block + 1 : 2 * keys - block])


def some_head(random: np.random.Generator, keys: int, channels: int) -> Head:
    """Return a row whose scores spread by some width."""
    low, high = sorted(random.integers(8, 21, 2).tolist())
    exponents = random.integers(low, high + 1, (2, keys))
    scales = (exponents << 10) + random.integers(0, 1024, (2, keys))
    spread = int(random.integers(0, 18))  # bits of the largest argument's distance, about
    return Head(
        q=random.integers(-127, 128, channels),
        k=random.integers(0, 16, (keys, channels)),
        k_scales=scales[0],
        k_zeros=random.integers(0, 16, keys),
        v=random.integers(0, 16, (keys, channels)),
        v_scales=scales[1],
        v_zeros=random.integers(0, 16, keys),
        multiplier=int(random.integers(1 << 15, 1 << 16)),
        shift=44 + high - spread,
    )


def lanes_only(task: Task, random: np.random.Generator) -> Head:
    """Return a row of the narrowest head."""
    return some_head(random, task.config.block + 3, task.config.lanes)


def extremes(task: Task, random: np.random.Generator) -> list[Head]:
    """Return rows of the largest sums of both signs, equal scores and one that stands out."""
    keys, channels = 2 * task.config.block + 1, task.config.channels
    heads = []
    for sign, code, zero in ((1, 15, 0), (-1, 15, 0), (1, 0, 15), (0, 7, 7)):
        head = some_head(random, keys, channels)
        head.q[:], head.k[:], head.k_zeros[:] = 127 * sign, code, zero
        head.v[:], head.v_zeros[:], head.v_scales[:] = 15 - code, 15 - zero, LARGEST
        head.k_scales[:], head.shift = 0x7BFF, int(random.choice([-128, 30, 60, 127]))
        heads.append(head)
    one = some_head(random, keys, channels)
    one.k_scales[:], one.k_scales[keys // 2], one.shift = 1, 0x7BFF, 40
    return [*heads, one]


async def check(dut: Any, task: Task, pattern: str, heads: list[Head]) -> dict[str, Seen]:
    """Run rows one after another; compare outputs and every cycle."""
    config, random = task.config, task.random(pattern + " stalls")
    offers = {name: stalls(random, pattern, HORIZON_CYCLES)[0] for name in SOURCES}
    _, ready = stalls(random, pattern, HORIZON_CYCLES)
    items: dict[str, list[int]] = {name: [] for name in SOURCES}
    outputs: list[list[int]] = []
    for head in heads:
        for name, own in items_of(task, head, config).items():
            items[name] += own
        outputs += lanes_of(head.outputs(config.block), config.lanes)
    seen = await run(
        dut,
        {name: Source(items[name], offers[name]) for name in SOURCES},
        {"o": Sink(len(outputs), ready)},
        HORIZON_CYCLES,
    )
    assert [task.unpack("o", bits)["data"] for bits in seen["o"].items] == outputs
    moves = attention_moves(config, [head.size for head in heads], offers, ready)
    for name, cycles in moves._asdict().items():
        assert seen[name].cycles == cycles, name
    return seen


def lanes_of(channels: list[int], lanes: int) -> list[list[int]]:
    """Return a row's outputs by beat."""
    return [channels[at : at + lanes] for at in range(0, len(channels), lanes)]


def items_of(
    task: Task, head: Head, config: W2A8KV4AttentionConfig, command_name: str = "command"
) -> dict[str, list[int]]:
    """Return the items of a row by stream; the stream of commands may have another name."""
    keys, channels = head.size
    command = {"keys": keys, "channels": channels, "multiplier": head.multiplier}
    query = np.zeros(config.channels, np.int64)
    query[:channels] = head.q
    columns = (head.k_scales, head.k_zeros, head.v_scales, head.v_zeros)
    names = ("key_scale", "key_zero", "value_scale", "value_zero")
    tokens = [
        dict(zip(names, fields, strict=True))
        for fields in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return {
        command_name: [task.pack(command_name, command | {"shift": head.shift})],
        "query": [task.pack("query", part.tolist()) for part in query.reshape(2, -1)],
        "beats": [task.pack("beats", beat) for beat in beats_of(config, head)],
        "tokens": [task.pack("tokens", token) for token in tokens],
    }


def beats_of(config: W2A8KV4AttentionConfig, head: Head) -> list[list[int]]:
    """Return the bytes of a row's beats: keys a block ahead of the values."""
    keys, channels = head.size
    codes = np.zeros((2, keys, config.channels), np.int64)
    codes[0, :, :channels], codes[1, :, :channels] = head.k, head.v
    codes[:, :, channels:] = 9  # beyond the head: of no effect
    beats = codes[..., ::2] + 16 * codes[..., 1::2]
    k, v = (
        [kind[start : start + config.block].tolist() for start in range(0, keys, config.block)]
        for kind in beats
    )
    order = [k[0]]
    for number in range(1, len(k)):
        order += [k[number], v[number - 1]]
    return [beat for block in [*order, v[-1]] for beat in block]
