"""Address mappings by name: which bits of a transaction's address choose what.

A transaction's address is its byte address / bytes of a transaction. Bits are taken from the low
end. Ramulator 2.1 (commit c5b1c3a) uses the same names; its channels are chosen before the mapping,
by the lowest bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sim.dram.spec import AddressField, DramSpec
from workloads.config import unknown_name
from workloads.errors import InputError

Sizes = Mapping[AddressField, int]
"""How many values a field takes, a power of 2; a field that is left out takes one."""

Parts = tuple[tuple[AddressField, int], ...]
"""Fields and their bits, from the low end of the address."""

LEVELS: tuple[AddressField, ...] = ("pseudo_channel", "rank", "bank_group", "bank")
"""From the channel down to the bank."""

MOP_COLUMN_BITS = 2
"""MOP4CLXOR: four neighbours stay in one row."""


class AddressMapping(NamedTuple):
    """Fields `mapping` and `xor` of a `DramSpec`."""

    mapping: Parts
    xor: tuple[AddressField, ...] = ()


def robaracoch(sizes: Sizes) -> AddressMapping:
    """Row on top, then bank, bank group, rank or pseudo-channel, column, channel.

    Neighbours fill a row of every channel before they go to the next bank group.
    """
    return AddressMapping(_parts(sizes, "channel", "column", *LEVELS, "row"))


def mop4clxor(sizes: Sizes) -> AddressMapping:
    """Four neighbours in a row, then the next rank, bank group, bank; the column's rest, the row.

    Rank or pseudo-channel, bank group, bank and row are XORed with successive bits of the column,
    so that a stride over many banks' bits still visits several.
    """
    bits = _bits(sizes, "column")
    if bits < MOP_COLUMN_BITS:
        raise InputError(f"mop4clxor columns must be at least 4, not {1 << bits}")
    low: Parts = (*_parts(sizes, "channel"), ("column", MOP_COLUMN_BITS), *_parts(sizes, *LEVELS))
    rest: Parts = (("column", bits - MOP_COLUMN_BITS),) if bits > MOP_COLUMN_BITS else ()
    xor = tuple(field for field in (*LEVELS, "row") if _bits(sizes, field))
    return AddressMapping((*low, *rest, *_parts(sizes, "row")), xor)


def chrabaroco(sizes: Sizes) -> AddressMapping:
    """Channel on top, then rank or pseudo-channel, bank group, bank, row, column.

    Neighbours fill a bank before they go to the next.
    """
    return AddressMapping(_parts(sizes, "column", "row", *reversed(LEVELS), "channel"))


MAPPINGS: Mapping[str, Callable[[Sizes], AddressMapping]] = {
    "robaracoch": robaracoch,
    "mop4clxor": mop4clxor,
    "chrabaroco": chrabaroco,
}
"""All mappings by name."""


def remap(spec: DramSpec, mapping: str, **changes: Any) -> DramSpec:
    """Return a device with another mapping by name, and with other fields.

    Raises:
        InputError: an unknown name, or a device that this mapping or the specification refuses.
    """
    if mapping not in MAPPINGS:
        raise InputError(unknown_name("DRAM mapping", mapping, MAPPINGS))
    sizes: dict[AddressField, int] = {
        "channel": changes.get("channels", spec.channels),
        "pseudo_channel": changes.get("pseudo_channels", spec.pseudo_channels),
        "rank": changes.get("ranks", spec.ranks),
        "bank_group": changes.get("bank_groups", spec.bank_groups),
        "bank": changes.get("banks", spec.banks),
        "column": changes.get("columns", spec.columns),
        "row": changes.get("rows", spec.rows),
    }
    return spec.override({**changes, **MAPPINGS[mapping](sizes)._asdict()})


def _bits(sizes: Sizes, field: AddressField) -> int:
    size = sizes.get(field, 1)
    if size < 1 or size & (size - 1):
        raise InputError(f"DRAM {field}s must be a power of 2 for a mapping, not {size}")
    return size.bit_length() - 1


def _parts(sizes: Sizes, *fields: AddressField) -> Parts:
    return tuple((field, _bits(sizes, field)) for field in fields if _bits(sizes, field))
