"""Timing of the unpacker of a KV cache in hardware, behind streams, with stalls."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at
from sim.blocks.kv_unpacker import TOKEN_BITS, KvUnpackerConfig, metadata_beats
from sim.blocks.w2a8kv4_attention_stream import beat_order

TOKEN_BYTES = TOKEN_BITS // 8


class KvUnpackerMoves(NamedTuple):
    """Cycles in which commands and raw beats entered, and tokens and beats of codes left."""

    command: list[int]
    i: list[int]
    tokens: list[int]
    beats: list[int]


def raw_order(config: KvUnpackerConfig, keys: int) -> list[int]:
    """Return for each raw beat of a row: 0 codes, else metadata, the tokens of its block.

    Further beats of a block's metadata are -1.
    """
    order: list[int] = []
    first, coming = True, keys
    for beat in beat_order(keys, config.block):
        if first and not beat.value:
            tokens = min(config.block, coming)
            order += [tokens] + [-1] * (metadata_beats(tokens, config.dsps) - 1)
        coming -= not beat.value
        order.append(0)
        first = beat.last
    return order


def kv_unpacker_moves(
    config: KvUnpackerConfig,
    rows: Sequence[int],
    offer_command: Sequence[bool],
    offer: Sequence[bool],
    token_ready: Sequence[bool],
    ready: Sequence[bool],
) -> KvUnpackerMoves:
    """Return when everything moves.

    A command is taken when the beats of the row before are; they follow from the next cycle on.
    Codes pass one register. Metadata enters a queue while it has a place, and leaves it for a
    register when this holds less than a token, also in the cycle in which a token leaves it; a
    token is offered while the register holds one.

    Args:
        config: the unit.
        rows: keys of each row.
        offer_command, offer, token_ready, ready: of the sources and the sinks, by cycle.
    """
    moves = KvUnpackerMoves([], [], [], [])
    left: deque[int] = deque()
    queue: deque[int] = deque()
    held_bytes = held_tokens = 0
    out = False
    total, keys = sum(2 * row for row in rows), sum(rows)
    raw = sum(len(raw_order(config, row)) for row in rows)
    offering = offering_command = False
    cycle = 0
    while len(moves.tokens) < keys or len(moves.beats) < total:
        offering_command |= len(moves.command) < len(rows) and at(offer_command, cycle)
        offering |= len(moves.i) < raw and at(offer, cycle)
        leaves = out and at(ready, cycle)
        token = held_tokens > 0 and held_bytes >= TOKEN_BYTES and at(token_ready, cycle)
        begins = offering_command and not left
        codes = bool(left) and left[0] == 0
        room = (not out or leaves) if codes else len(queue) < config.queue_depth
        takes = offering and bool(left) and room
        if token:
            held_bytes, held_tokens = held_bytes - TOKEN_BYTES, held_tokens - 1
            moves.tokens.append(cycle)
        if queue and (held_tokens == 0 or held_bytes < TOKEN_BYTES):
            beat = queue.popleft()
            held_bytes = config.dsps + (held_bytes if held_tokens else 0)
            held_tokens = beat if beat > 0 else held_tokens
        if leaves:
            moves.beats.append(cycle)
            out = False
        if takes:
            moves.i.append(cycle)
            offering = False
            kind = left.popleft()
            if kind:
                queue.append(kind)
            else:
                out = True
        if begins:
            moves.command.append(cycle)
            offering_command = False
            left = deque(raw_order(config, rows[len(moves.command) - 1]))
        cycle += 1
    return moves
