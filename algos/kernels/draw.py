"""Random operands: the same ones for the same seed and device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Draw:
    """A source of random tensors. On device "meta" they have sizes and types only."""

    def __init__(self, seed: int, device: str) -> None:
        import torch

        self._device = device
        self._generator: Any = None
        if device != "meta":
            self._generator = torch.Generator(device=device).manual_seed(seed)

    def normal(self, *size: int, dtype: str = "float16") -> Tensor:
        """Return standard normal values."""
        import torch

        kind = getattr(torch, dtype)
        if self._generator is None:
            return torch.empty(size, dtype=kind, device="meta")
        values = torch.randn(
            size, generator=self._generator, device=self._device, dtype=torch.float32
        )
        return values.to(kind)

    def uniform(self, *size: int, low: float, high: float, dtype: str = "float16") -> Tensor:
        """Return values between two bounds."""
        import torch

        kind = getattr(torch, dtype)
        if self._generator is None:
            return torch.empty(size, dtype=kind, device="meta")
        values = torch.rand(
            size, generator=self._generator, device=self._device, dtype=torch.float32
        )
        return (low + (high - low) * values).to(kind)

    def integers(self, *size: int, low: int, high: int, dtype: str = "int8") -> Tensor:
        """Return integers from `low` to `high`, both included."""
        import torch

        kind = getattr(torch, dtype)
        if self._generator is None:
            return torch.empty(size, dtype=kind, device="meta")
        return torch.randint(
            low, high + 1, size, generator=self._generator, device=self._device, dtype=torch.int64
        ).to(kind)

    def chosen(self, *rows: int, count: int, among: int, dtype: str = "int32") -> Tensor:
        """Return for each row `count` different numbers below `among`, ascending."""
        import torch

        kind = getattr(torch, dtype)
        if self._generator is None:
            return torch.empty((*rows, count), dtype=kind, device="meta")
        order = torch.rand((*rows, among), generator=self._generator, device=self._device)
        return order.argsort(dim=-1)[..., :count].sort(dim=-1).values.to(kind)
