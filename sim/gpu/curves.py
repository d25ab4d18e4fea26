"""The few efficiency curves of the cost model: what no data sheet tells, set by published rows.

Each parameter is one number for all shapes. `SET_BY` names the rows of
`reports/data/gpu/published.tsv` whose role is `curve`; `reports.gpu.fit` finds the values again
from these rows alone. No other row of the table sets anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.gpu.devices import Device


@dataclass(frozen=True)
class Curves:
    """Parameters of the model. Shares are of the device's peak."""

    dram_hbm3: float = 0.920
    """bandwidth that streaming kernels reach on HBM3 and HBM3e"""
    dram_gddr6: float = 0.941
    dram_gddr5x: float = 0.847
    tensor_library: float = 0.951
    """matrix units in GEMMs of vendors' libraries (cuBLAS, CUTLASS)"""
    tensor_flash2: float = 0.731
    """in FlashAttention-2, forward and backward, beside what softmax adds"""
    tensor_flash3: float = 0.969
    """in FlashAttention-3 and what is written like it"""
    tensor_triton: float = 0.770
    """in Triton kernels on mma instructions: devices before Hopper"""
    tensor_triton_hopper: float = 0.508
    tensor_sparse: float = 0.784
    """in 2:4 sparse GEMMs, of the doubled peak"""
    fp32_library: float = 0.963
    sustained_fp16: float = 0.793
    """matrix units of Hopper at board power, which lowers the clock: long dense GEMMs"""
    sustained_int8: float = 0.694
    exposed: float = 0.651
    """share of the shorter pipes' time that does not hide behind the longest pipe's"""
    start_latencies: float = 3.58
    """DRAM latencies that a block pays outside its loop: first operands, last results"""
    overlap: float = 2.67
    """exponent of the norm of DRAM's time and the chip's: infinite if one hid the other"""
    dispatch_ns: float = 28_000.0
    """of the host for an operator of PyTorch, eager, kernels shorter than that"""


SET_BY: Mapping[str, tuple[str, ...]] = {
    "dram_hbm3": ("D14",),
    "dram_gddr6": ("D18",),
    "dram_gddr5x": ("G1",),
    "tensor_library": ("G19",),
    "tensor_flash2": ("P3", "P4"),
    "tensor_flash3": ("P7", "P11"),
    "tensor_triton": ("P18",),
    "tensor_triton_hopper": ("P13",),
    "tensor_sparse": ("G31",),
    "fp32_library": ("G3",),
    "sustained_fp16": ("G22",),
    "sustained_int8": ("G28",),
    "exposed": ("P6",),
    "start_latencies": ("G13", "D7"),
    "overlap": ("P8", "G10", "G25"),
    "dispatch_ns": ("X6",),
}
"""parameter -> rows that set it"""

INFORMED: Mapping[str, tuple[str, ...]] = {
    "sim.gpu.model: blocks that start the longest last": ("P1",),
    "sim.gpu.libraries.attention.cache_write": ("D4",),
    "sim.gpu.libraries.latent.DEQUANT_OPS": ("D21",),
    "sim.gpu.libraries.matmul: tiles of single precision": ("G2",),
    "sim.gpu.libraries.matmul.int4_weights: operations to unpack": ("G21",),
    "sim.gpu.libraries.rows.rmsnorm: steps": ("E1",),
    "sim.gpu.libraries.rows.SELECT_OPS": ("E2",),
    "sim.gpu.libraries.sparse.csr_vector: the vector stays in the L1 cache": ("X18",),
}
"""Estimates of kernels that were made with a row's time in view -> that row. No number was fitted,
but such a row cannot judge the model; its role is `curve` too."""

DEFAULT = Curves()

MMA_ON_HOPPER = 0.629
"""share of the matrix peak that mma instructions, not wgmma, reach on Hopper (arXiv:2402.13499)"""

_FAMILIES = {
    "cublas": "library",
    "cutlass": "library",
    "deepgemm": "library",
    "flash2": "flash2",
    "flash": "flash3",
    "sparse24": "sparse",
}
"""how a kernel's name starts -> family; all other kernels are Triton's"""


def family(kernel: str) -> str:
    """Return the family whose curve a kernel has; kernels of unknown name are "triton"."""
    found = (kind for start, kind in _FAMILIES.items() if kernel.startswith(start))
    return next(found, "triton")


def pipe_share(curves: Curves, kernel: str, device: Device, pipe: str) -> float:
    """Return the share of a pipe's peak that a full kernel reaches."""
    kind = family(kernel)
    if pipe == "fp32":
        return curves.fp32_library if kind == "library" else 1.0
    if not pipe.startswith("tensor"):
        return 1.0
    share: float = getattr(curves, f"tensor_{kind}")
    if device.architecture in ("hopper", "blackwell"):
        if kind == "triton":
            return curves.tensor_triton_hopper
        if kind in ("flash2", "sparse"):  # written for Ampere: mma and mma.sp instructions
            return share * MMA_ON_HOPPER
    return share


def sustained_share(curves: Curves, device: Device, pipe: str) -> float:
    """Return the share of a pipe's peak that the board's power sustains."""
    if device.architecture != "hopper":
        return 1.0
    return {"tensor_fp16": curves.sustained_fp16, "tensor_int8": curves.sustained_int8}.get(
        pipe, 1.0
    )


def dram_gbps(curves: Curves, device: Device) -> float:
    """Return the bandwidth of a long stream: measured, else a share of the peak."""
    if device.stream_gbps is not None:
        return device.stream_gbps
    shares = {
        "HBM3": curves.dram_hbm3,
        "GDDR6": curves.dram_gddr6,
        "GDDR5X": curves.dram_gddr5x,
    }
    return device.dram_gbps * shares[device.memory]
