"""Weight unpacker: beats of memory to groups of weights beside their metadata.

A matrix lies in memory as `workloads.packed` says: superblocks of the metadata of some groups,
filled up to beats, then their data. The last superblock has as many beats as its groups need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from sim.blocks.handshake import at
from workloads.config import Config
from workloads.packed import FILLING


class WeightUnpackerConfig(Config):
    """Form of packed weights; the default is AccLLM's W2, 2:4, in beats of 64 B."""

    beat_bits: int = Field(512, ge=8)
    """bits of a beat of memory"""
    group_bits: int = Field(128, ge=1)
    """bits of a group's codes and indices; beats hold whole groups"""
    metadata_bits: int = Field(18, ge=17)
    """bits of a group's scale and zero point"""

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.beat_bits % self.group_bits:
            raise ValueError(
                f"WeightUnpacker beat_bits must be a multiple of group_bits ({self.group_bits}), "
                f"not {self.beat_bits}"
            )
        if self.superblock % self.groups:
            raise ValueError(
                f"WeightUnpacker superblock must be whole beats of {self.groups} groups, "
                f"not {self.superblock} groups"
            )
        return self

    @property
    def groups(self) -> int:
        """Groups of a beat."""
        return self.beat_bits // self.group_bits

    @property
    def superblock(self) -> int:
        """Groups of a superblock: the fewest that keep the filling below `FILLING`."""
        groups = 0
        while True:
            groups += 1
            bits = groups * (self.group_bits + self.metadata_bits)
            beats = self.metadata_beats(groups) + -(-groups * self.group_bits // self.beat_bits)
            if beats * self.beat_bits <= (1 + FILLING) * bits:
                return groups

    @property
    def data_beats(self) -> int:
        """Data beats of a superblock."""
        return self.superblock // self.groups

    def metadata_beats(self, groups: int) -> int:
        """Return the beats of the metadata of some groups of one superblock."""
        return -(-groups * self.metadata_bits // self.beat_bits)


class Item(NamedTuple):
    """A data beat and the metadata of its groups."""

    data: list[int]
    metadata: list[int]


class UnpackerMoves(NamedTuple):
    """Cycles in which requests and beats entered and items left."""

    requests: list[int]
    beats: list[int]
    items: list[int]


class UnpackerStalls(NamedTuple):
    """By cycle: whether the sources of requests and beats may offer, whether the sink is ready."""

    requests: Sequence[bool] = ()
    beats: Sequence[bool] = ()
    ready: Sequence[bool] = ()


def beat_kinds(config: WeightUnpackerConfig, data_beats: int) -> list[bool]:
    """Return for each beat of a matrix whether it is data.

    Args:
        config: of the format.
        data_beats: of the matrix, at least 1.
    """
    kinds = []
    for start in range(0, data_beats, config.data_beats):
        count = min(config.data_beats, data_beats - start)
        kinds += [False] * config.metadata_beats(count * config.groups) + [True] * count
    return kinds


def unpack_golden(
    config: WeightUnpackerConfig, data_beats: int, beats: Sequence[int]
) -> list[Item]:
    """Return a matrix's items from its beats, each an integer whose lowest bit comes first."""
    found: list[Item] = []
    metadata, place = 0, 0
    for beat, is_data in zip(beats, beat_kinds(config, data_beats), strict=True):
        if is_data:
            here = _cut(beat, config.group_bits, config.groups)
            found.append(Item(here, _cut(metadata, config.metadata_bits, config.groups)))
            metadata, place = metadata >> (config.groups * config.metadata_bits), 0
        else:
            metadata = (metadata if place else 0) | beat << (place * config.beat_bits)
            place += 1
    return found


def _cut(bits: int, width: int, count: int) -> list[int]:
    return [(bits >> (place * width)) & ((1 << width) - 1) for place in range(count)]


def unpacker_moves(
    config: WeightUnpackerConfig, matrices: Sequence[int], stalls: UnpackerStalls
) -> UnpackerMoves:
    """Return when everything moves.

    A beat of metadata is taken at once, one of data unless an item waits. The next request is taken
    with the last beat of the matrix before, at the earliest.

    Args:
        config: of the format.
        matrices: data beats of each.
        stalls: of the sources and the sink.
    """
    kinds = [beat_kinds(config, count) for count in matrices]
    moves = UnpackerMoves([], [], [])
    left: list[bool] = []  # kinds of the beats of the request that is held
    offers_request = offers_beat = waits = False
    total, cycle = sum(map(len, kinds)), 0
    while len(moves.items) < sum(matrices):
        offers_request = offers_request or (
            len(moves.requests) < len(matrices) and at(stalls.requests, cycle)
        )
        offers_beat = offers_beat or (len(moves.beats) < total and at(stalls.beats, cycle))
        leaves = waits and at(stalls.ready, cycle)
        if leaves:
            moves.items.append(cycle)
        room = leaves or not waits
        held = bool(left)
        takes = held and offers_beat and (room or not left[0])
        if room:
            waits = takes and left[0]
        if takes:
            moves.beats.append(cycle)
            left, offers_beat = left[1:], False
        if not left and offers_request:
            left = kinds[len(moves.requests)]
            moves.requests.append(cycle)
            offers_request = False
        cycle += 1
    return moves
