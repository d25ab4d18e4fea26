"""Sizes of a machine's parts: all that its energy table and its area depend on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Buffer:
    """An SRAM that feeds an array, one line a cycle.

    Each bit of an element has RAMs of its own, as in the released RTL, so that LSBs can be written
    beside MSBs; two banks take even and odd lines.
    """

    bytes: int
    line_elements: int
    width_bits: int  # of an element, and as many bit planes

    BANKS = 2


@dataclass(frozen=True)
class Fifo:
    """FIFOs of one kind: `count` of them, each `depth` words of `width_bits`."""

    count: int
    depth: int
    width_bits: int

    @property
    def bits(self) -> int:
        """Bits of one of them."""
        return self.depth * self.width_bits


@dataclass(frozen=True)
class TopK:
    """One quick-select engine with three FIFOs: two for passes, one for the input's copy."""

    lanes: int
    depth: int  # elements of a FIFO
    width_bits: int

    @property
    def layers(self) -> int:
        """Shift layers of a zero eliminator."""
        return max(1, self.lanes.bit_length() - 1)

    @property
    def fifos(self) -> Fifo:
        """The engine's FIFOs."""
        return Fifo(3, -(-self.depth // self.lanes), self.lanes * self.width_bits)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A machine without its memory."""

    multipliers: int  # each with an adder behind it
    width_bits: int  # of an operand; a product has twice as many
    key_buffer: Buffer
    value_buffer: Buffer
    channels: int  # of the memory
    lanes: int  # of the fetcher
    softmax_lanes: int = 0
    softmax_fifo: Fifo | None = None  # rows until their sum is known
    decision_fifo: Fifo | None = None  # rows until their maximum is known
    topk: tuple[TopK, ...] = ()

    @property
    def register_bits(self) -> int:
        """Flip-flops of a multiplier: both operands, product, and its node of the adder tree.

        The released RTL registers each of these stages.
        """
        return 2 * self.width_bits + 2 * 2 * self.width_bits

    @property
    def address_fifos(self) -> Fifo:
        """Of the fetcher: 64 addresses of 8 B a lane (SpAtten, section IV)."""
        return Fifo(self.lanes, 64, ADDRESS_BITS)

    @property
    def data_fifos(self) -> Fifo:
        """Of the fetcher: 64 words of 16 B a lane (SpAtten, section IV)."""
        return Fifo(self.lanes, 64, 128)


ADDRESS_BITS = 64
"""Of a transaction's address in the fetcher (SpAtten, section IV: 8 B)."""
