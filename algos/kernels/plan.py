"""What a GPU bench times: every kernel at its papers' shapes, over sparsity, and its controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from algos.kernels import KERNELS, make_kernel
from algos.kernels.base import Kernel
from algos.kernels.inspection import SHARES, check_names, program_hash

OWN = "prunesim"


@dataclass(frozen=True)
class Settings:
    """How long a bench measures."""

    windows: int = 15
    """timed windows of a row"""
    window_ns: float = 20e6
    """at least so long is one"""
    sweep_windows: int = 7
    """timed windows of a row of a sparsity curve"""
    cold_factor: float = 3.0
    """a round of copies of the operands is so many times the L2 cache"""
    most_copies: int = 512
    load_seconds: float = 1.0
    """of the loop in which board power and clocks are read; not for sparsity curves"""
    patience_seconds: float = 300.0
    """after so long without a row, a process is taken to hang"""
    shares: tuple[float, ...] = SHARES
    """of the sparsity curves"""


FULL = Settings()
QUICK = Settings(
    windows=5, window_ns=5e6, sweep_windows=5, load_seconds=0.5, shares=(0.0, 0.25, 0.5, 0.75, 0.9)
)


@dataclass(frozen=True)
class Case:
    """One row to be measured."""

    kernel: str
    shape: str
    """of the paper, in words"""
    size: str
    """the shape itself, as JSON"""
    share: float | None
    """of a sparsity curve: what is left out; None: as in the paper"""
    implementation: str
    """`OWN`, or `Kernel.torch_kernel`"""
    control: str | None = None
    control_size: str | None = None
    beside: bool = False
    """whether it is the library's kernel that stands beside the one named"""

    @property
    def key(self) -> str:
        """What makes the case the same one: kernel, size, who computes it, and a curve or not."""
        place = "paper" if self.share is None else f"{self.share:g}"
        return f"{self.kernel} {self.size} {self.implementation} {place}"

    def make(self) -> tuple[Kernel, Any]:
        """Return the kernel and the shape."""
        kernel = make_kernel(self.kernel)
        kind = type(next(iter(kernel.papers.values())))
        return kernel, kind(**json.loads(self.size))


def size_of(shape: Any) -> str:
    """Return a shape as JSON, always the same text for the same shape."""
    return json.dumps(shape.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def plan(names: Sequence[str], settings: Settings) -> list[Case]:
    """Return what is measured of some kernels, or of all, each case once; kernel by kernel.

    Raises:
        InputError: an unknown name, with the nearest.
    """
    check_names(names)
    wanted = {*names} or {*KERNELS}
    cases: dict[str, Case] = {}
    for name in KERNELS:
        if name in wanted:
            kernel = make_kernel(name)
            for label, shape in kernel.papers.items():
                for case in _cases(kernel, label, shape, settings):
                    cases.setdefault(case.key, case)
    order = [*KERNELS]
    return sorted(cases.values(), key=lambda case: order.index(case.kernel))


def _cases(kernel: Kernel, label: str, shape: Any, settings: Settings) -> list[Case]:
    control = make_kernel(kernel.dense) if kernel.dense else None
    dense = kernel.dense_shape(shape) if control else None
    control_size = size_of(dense) if control else None
    found = []
    if control:
        found += _beside(control, f"{label} dense", dense, None, None)
    found += _beside(kernel, label, shape, kernel.dense, control_size)
    if control and kernel.sparsity:
        found += [
            Case(
                *(kernel.name, label, size_of(kernel.at_sparsity(shape, share)), share, OWN),
                *(kernel.dense, control_size),
            )
            for share in settings.shares
        ]
    return found


def _beside(
    kernel: Kernel, label: str, shape: Any, control: str | None, control_size: str | None
) -> list[Case]:
    """Return the case of a kernel and, where there is one, that of the library's kernel."""
    names = [OWN] if kernel.programs(shape, "sm_90") else []
    names += [kernel.torch_kernel] if kernel.torch_kernel else []
    return [
        Case(
            *(kernel.name, label, size_of(shape), None, name, control, control_size),
            beside=at > 0,
        )
        for at, name in enumerate(names)
    ]


def describe(case: Case, target: str) -> dict[str, Any]:
    """Return what would run, without running it: programs, bytes, flops, memory."""
    kernel, shape = case.make()
    programs = [] if case.beside else kernel.programs(shape, target)
    count = kernel.count(shape)
    return {
        "programs": [f"{one.function} {'x'.join(map(str, one.grid))}" for one in programs],
        "sha256": "+".join(program_hash(kernel, one, target)[:16] for one in programs),
        "flops": count.flops,
        "dram_bytes": count.dram_bytes,
        "unit": count.unit,
        "operand_bytes": operand_bytes(kernel, shape),
    }


def operand_bytes(kernel: Kernel, shape: Any) -> int:
    """Return the memory of operands and buffers; nothing is computed."""
    inputs = kernel.inputs(shape, 0, "meta")
    tensors = [*inputs.values(), *kernel.buffers(shape, inputs).values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
