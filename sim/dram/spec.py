"""A DRAM device as data: organisation, timing constraints, address mapping."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from workloads.config import Config

AddressField = Literal["channel", "pseudo_channel", "rank", "bank_group", "bank", "column", "row"]

FIELDS: tuple[AddressField, ...] = (
    "channel",
    "pseudo_channel",
    "rank",
    "bank_group",
    "bank",
    "column",
    "row",
)
"""The parts of a transaction's location."""

IDEAL_MEMORY = "IdealMemory"
"""What a result calls a memory without latency and bandwidth limit."""


class DramSpec(Config):
    """A read-only view of one DRAM: what decides when a read's data arrives.

    All `n_` timings are clocks of the command bus, named as in JEDEC's standards, lower case.
    A command that follows ACT, or that ACT follows, is measured from ACT's last clock
    (`act_cycles`), as JESD235 does.
    """

    name: str
    """Name of the preset, for reports."""

    channels: PositiveInt
    """Independent channels, each with its own command buses."""

    pseudo_channels: PositiveInt = 1
    """Parts of a channel with their own banks and data pins, sharing its command buses (HBM2).
    Where a timing says rank, each of them counts as one."""

    ranks: PositiveInt = 1
    """Parts of a channel with their own banks, sharing its command bus and data pins (DDR4)."""

    command_buses: int = Field(default=2, ge=1, le=2)
    """Command buses of a channel, one command a clock each: one for rows and one for columns
    (HBM2), or a single one (DDR4)."""

    bank_groups: PositiveInt
    """Bank groups per rank."""

    banks: PositiveInt
    """Banks per bank group."""

    rows: PositiveInt
    """Rows per bank."""

    columns: PositiveInt
    """Transactions per row of one bank."""

    transaction_bytes: PositiveInt
    """Bytes moved by one read command."""

    t_ck_ns: PositiveFloat
    """Period of the command clock, ns."""

    n_bl: PositiveInt
    """Clocks that one transaction holds the data pins."""

    n_cl: PositiveInt
    """RD to the first data: CAS latency."""

    n_rcd: PositiveInt
    """ACT to RD of the same bank."""

    n_rp: PositiveInt
    """PRE to ACT of the same bank."""

    n_ras: PositiveInt
    """ACT to PRE of the same bank."""

    n_rc: PositiveInt
    """ACT to ACT of the same bank."""

    n_rtp: PositiveInt
    """RD to PRE of the same bank."""

    n_ccd_s: PositiveInt
    """RD to RD of the same rank."""

    n_ccd_l: PositiveInt
    """RD to RD of the same bank group."""

    n_cs: int = Field(default=0, ge=0)
    """Clocks between the data of two ranks on the same pins."""

    n_rrd_s: PositiveInt
    """ACT to ACT of the same rank."""

    n_rrd_l: PositiveInt
    """ACT to ACT of the same bank group."""

    n_faw: PositiveInt
    """Window of a rank that holds at most four ACT."""

    n_rfc: PositiveInt
    """All-bank refresh to the next ACT of the rank."""

    n_refi: PositiveInt
    """Mean distance of two all-bank refreshes of a rank."""

    act_cycles: PositiveInt = 1
    """Clocks that ACT holds its command bus; HBM2's ACT takes two (JESD235)."""

    queue_cycles: int = Field(default=1, ge=0)
    """Clocks from a request's arrival to its first command: one, a registered queue."""

    queue_depth: PositiveInt = 32
    """Requests per channel that wait for their first command together; beyond it they queue
    in order outside."""

    refresh: bool = True
    """Whether all-bank refresh happens."""

    ideal: bool = False
    """No latency, unlimited bandwidth: every read completes on arrival. Results name it."""

    mapping: tuple[tuple[AddressField, PositiveInt], ...]
    """Which address bits choose what: (field, bits) from the low end of the transaction
    address. A field may appear twice; its later bits are the higher ones."""

    xor: tuple[AddressField, ...] = ()
    """Fields that are XORed with successive low bits of the column, in this order; at most once
    each, and not the column itself."""

    @model_validator(mode="after")
    def _mapping_covers_device(self) -> Self:
        for field in FIELDS:
            count = self.count(field)
            bits = sum(width for name, width in self.mapping if name == field)
            if count != 1 << bits:
                raise ValueError(
                    f"Dram mapping must give {field} bits for {count} of them, not {bits} bits"
                )
        return self

    @model_validator(mode="after")
    def _xor_is_one_to_one(self) -> Self:
        if "column" in self.xor or len(set(self.xor)) < len(self.xor):
            raise ValueError(
                f"Dram xor must be different fields without column, not {', '.join(self.xor)}"
            )
        return self

    @model_validator(mode="after")
    def _parts_are_of_one_kind(self) -> Self:
        if self.pseudo_channels > 1 and self.ranks > 1:
            raise ValueError(
                f"Dram ranks must be 1 beside {self.pseudo_channels} pseudo-channels, "
                f"not {self.ranks}"
            )
        return self

    @model_validator(mode="after")
    def _refresh_fits_its_interval(self) -> Self:
        parts = self.pseudo_channels * self.ranks
        busy = self.n_ras + self.n_rfc + parts * (self.n_rp + 2) + self.act_cycles
        if self.refresh and busy >= self.n_refi:
            raise ValueError(f"Dram n_refi must be more than {busy}, not {self.n_refi}")
        return self

    def count(self, field: AddressField) -> int:
        """Return how many values an address field takes."""
        counts = {
            "channel": self.channels,
            "pseudo_channel": self.pseudo_channels,
            "rank": self.ranks,
            "bank_group": self.bank_groups,
            "bank": self.banks,
            "column": self.columns,
            "row": self.rows,
        }
        return counts[field]

    @property
    def banks_per_channel(self) -> int:
        """Banks of one channel."""
        return self.pseudo_channels * self.ranks * self.bank_groups * self.banks

    @property
    def transactions(self) -> int:
        """Transactions that the device holds; addresses are below it."""
        return self.channels * self.banks_per_channel * self.rows * self.columns

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the device holds."""
        return self.transactions * self.transaction_bytes

    @property
    def read_latency_cycles(self) -> int:
        """RD to the end of its data."""
        return self.n_cl + self.n_bl

    @property
    def peak_bytes_per_s(self) -> float:
        """Bandwidth with every data pin busy, bytes per second."""
        per_clock = self.channels * self.pseudo_channels * self.transaction_bytes / self.n_bl
        return per_clock / self.t_ck_ns * 1e9

    @property
    def ideal_name(self) -> str:
        """`IDEAL_MEMORY` for an idealised device, else empty: what a result must show."""
        return IDEAL_MEMORY if self.ideal else ""
