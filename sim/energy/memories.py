"""Memories of a machine: which are RAMs, which are flip-flops, and what an access costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sim.energy import cells
from sim.energy.cacti import MIN_BYTES, Rams, organise
from sim.energy.hardware import Buffer, Fifo, Hardware


@dataclass(frozen=True)
class Storage:
    """A FIFO as it is built."""

    pj_per_bit: float  # pushed and popped
    leakage_mw: float  # of all of them
    area_mm2: float  # of all of them
    source: str
    estimate: bool


def buffer_rams(buffer: Buffer) -> Rams:
    """Return the RAMs of a K or V buffer."""
    line_bits = buffer.line_elements * buffer.width_bits
    return organise(buffer.bytes, line_bits, buffer.width_bits, Buffer.BANKS)


@lru_cache(maxsize=1024)
def fifo_storage(fifo: Fifo) -> Storage:
    """Return what a kind of FIFOs costs: RAMs from 1 KiB, below that flip-flops."""
    if fifo.bits < MIN_BYTES * 8:
        area_mm2 = fifo.count * fifo.bits * cells.FLIPFLOP_UM2 * 1e-6
        return Storage(
            2 * cells.FLIPFLOP_PJ,
            area_mm2 * cells.LEAKAGE_W_PER_MM2 * 1e3,
            area_mm2,
            f"{cells.ALADDIN}: flip-flop {cells.FLIPFLOP_PJ} written, as much again for the "
            "multiplexer read",
            True,
        )
    rams = organise(fifo.bits // 8, fifo.width_bits)
    return Storage(
        rams.read_pj_per_bit + rams.write_pj_per_bit,
        fifo.count * rams.count * rams.leakage_mw,
        fifo.count * rams.count * rams.area_mm2,
        f"{rams.text} a FIFO, one write and one read",
        False,
    )


def fifos(hardware: Hardware) -> list[tuple[str, Fifo]]:
    """Return (component, FIFOs) of each kind that a machine has."""
    found = [
        ("address FIFOs", hardware.address_fifos),
        ("data FIFOs", hardware.data_fifos),
        ("softmax FIFO", hardware.softmax_fifo),
        ("decision FIFO", hardware.decision_fifo),
        *(("top-k FIFOs", engine.fifos) for engine in hardware.topk),
    ]
    return [(component, fifo) for component, fifo in found if fifo is not None]


def leakage_w(hardware: Hardware) -> float:
    """Return the leakage of all buffers and FIFOs in W."""
    rams = [buffer_rams(buffer) for buffer in (hardware.key_buffer, hardware.value_buffer)]
    of_buffers = sum(ram.count * ram.leakage_mw for ram in rams)
    of_fifos = sum(fifo_storage(fifo).leakage_mw for _, fifo in fifos(hardware))
    return (of_buffers + of_fifos) * 1e-3
