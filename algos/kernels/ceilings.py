"""What the device does at best: a large copy, and large products by torch's library."""

from __future__ import annotations

from typing import Any

from algos.kernels.bench import Ceilings
from algos.kernels.device import Device
from algos.kernels.plan import Settings
from algos.kernels.spread import spread

COPY_BYTES = 1 << 30
SIDE = 8192
"""of square matrices"""


def measure_ceilings(device: Device, settings: Settings) -> Ceilings:
    """Time a copy of 1 GiB and products of 8,192 x 8,192 in fp16, int8 and fp32 (without TF32)."""
    import torch

    flops = 2.0 * SIDE**3
    half = torch.randn(SIDE, SIDE, device=device.name).half()
    single = half.float()
    byte = torch.randint(-128, 128, (SIDE, SIDE), device=device.name, dtype=torch.int8)
    by_column = byte.t().contiguous().t()
    int8_product = getattr(torch, "_int_mm", None)  # torch's only one has no public name
    return Ceilings(
        copy_bytes_per_s=_copied(device, settings),
        matmul_fp16_flops_per_s=_rate(device, settings, lambda: half @ half, flops),
        matmul_int8_flops_per_s=_rate(
            device, settings, lambda: int8_product(byte, by_column), flops
        )
        if int8_product
        else None,
        matmul_fp32_flops_per_s=_rate(device, settings, lambda: single @ single, flops),
    )


def _copied(device: Device, settings: Settings) -> float | None:
    import torch

    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device.name)
    target = torch.empty_like(source)
    return _rate(device, settings, lambda: target.copy_(source), 2.0 * COPY_BYTES)


def _rate(device: Device, settings: Settings, call: Any, amount: float) -> float | None:
    """Return the amount a second; None where the call is not supported."""
    try:
        timing = device.time([call], settings.windows, settings.window_ns)
    except RuntimeError as error:
        if device.is_lost(error):
            raise
        return None
    return amount / (spread(timing.times_ns).median_ns * 1e-9)
