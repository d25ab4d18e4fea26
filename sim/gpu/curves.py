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

    dram_hbm3: float = 0.93
    """bandwidth that streaming kernels reach on HBM3 and HBM3e"""
    dram_gddr6: float = 0.94
    dram_gddr5x: float = 0.80
    tensor_library: float = 0.95
    """matrix units in GEMMs of vendors' libraries (cuBLAS, CUTLASS)"""
    tensor_attention: float = 0.92
    """in FlashAttention-2 and -3, beside what softmax adds"""
    tensor_backward: float = 0.72
    """in FlashAttention-2's backward pass, whose operands come from shared memory"""
    tensor_triton: float = 0.72
    """in Triton kernels on mma instructions: devices before Hopper"""
    tensor_triton_hopper: float = 0.50
    tensor_sparse: float = 0.80
    """in 2:4 sparse GEMMs, of the doubled peak"""
    fp32_library: float = 0.95
    sustained_fp16: float = 0.79
    """matrix units of Hopper at board power, which lowers the clock: long dense GEMMs"""
    sustained_int8: float = 0.69
    exposed: float = 0.60
    """share of the shorter pipes' time that does not hide behind the longest pipe's"""
    start_latencies: float = 4.0
    """DRAM latencies that a block pays outside its loop: first operands, last results"""
    overlap: float = 4.0
    """exponent of the norm over limits: infinite if the longest hid all others"""
    dispatch_ns: float = 14_000.0
    """of the host for an operator of PyTorch, eager, kernels shorter than that"""


SET_BY: Mapping[str, tuple[str, ...]] = {
    "dram_hbm3": ("D14",),
    "dram_gddr6": ("X11",),
    "dram_gddr5x": ("G1",),
    "tensor_library": ("G19",),
    "tensor_attention": ("P7", "P11"),
    "tensor_backward": ("P4",),
    "tensor_triton": ("P18",),
    "tensor_triton_hopper": ("P13",),
    "tensor_sparse": ("G31",),
    "fp32_library": ("G3",),
    "sustained_fp16": ("G22",),
    "sustained_int8": ("G28",),
    "exposed": ("P6", "P3"),
    "start_latencies": ("G13", "D7"),
    "overlap": ("P8",),
    "dispatch_ns": ("X6",),
}
"""parameter -> rows that set it"""

DEFAULT = Curves()

_FAMILIES = {
    "cublas": "library",
    "cutlass": "library",
    "deepgemm": "library",
    "flash": "attention",
    "backward": "backward",
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
    if kind == "triton" and device.architecture in ("hopper", "blackwell"):
        return curves.tensor_triton_hopper
    share: float = getattr(curves, f"tensor_{kind}")
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
