"""How published kernels become launches, from what is publicly known of them.

`KERNELS` names each: a function of a shape and a device. Tiles, warps and stages come from the
kernels' sources where they are public; what is estimated is said in each function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim.gpu.devices import Device
from sim.gpu.libraries import attention, latent, matmul, rows, sparse
from sim.gpu.libraries.attention import Attention
from workloads.config import unknown_name
from workloads.errors import InputError
from workloads.gpu_launch import Launch

Shape = Mapping[str, Any]
Library = Callable[[Shape, Device], list[Launch]]


def _attention(function: Callable[..., list[Launch]], *more: str) -> Library:
    """Make a library of a function of (attention, the named numbers, device)."""

    def launches(shape: Shape, device: Device) -> list[Launch]:
        own = {name: value for name, value in shape.items() if name not in more}
        return function(Attention(**own), *(shape[name] for name in more), device)

    return launches


def _plain(function: Callable[..., list[Launch]], **fixed: Any) -> Library:
    def launches(shape: Shape, device: Device) -> list[Launch]:
        return function(**shape, **fixed, device=device)

    return launches


KERNELS: dict[str, Library] = {
    "flash2-prefill": _attention(attention.flash2_prefill),
    "flash2-training": _attention(attention.flash2_backward),
    "flash3-prefill": _attention(attention.flash3_prefill),
    "triton-prefill": _attention(attention.triton_prefill),
    "flash2-decode": _attention(attention.flash2_decode),
    "vllm2-prefill": _attention(attention.vllm2_prefill),
    "vllm2-decode": _attention(attention.vllm2_decode),
    "flash2-unsplit": _attention(attention.flash2_unsplit),
    "flash3-decode": _attention(attention.flash3_decode),
    "flashinfer-decode": _attention(attention.flashinfer_decode),
    "mla-decode": _plain(latent.mla_decode),
    "mla-sparse-decode": _plain(latent.mla_sparse_decode),
    "cublas-fp16": _plain(matmul.cublas, dtype="fp16"),
    "cublas-fp32": _plain(matmul.cublas, dtype="fp32"),
    "cublas-fp8": _plain(matmul.cublas, dtype="fp8"),
    "int4-weights": _plain(matmul.int4_weights),
    "deepgemm": _plain(matmul.deepgemm),
    "sparse24": _plain(matmul.sparse24),
    "triton-gemm": _plain(matmul.triton_gemm),
    "rmsnorm": _plain(rows.rmsnorm),
    "torch-topk": _plain(rows.torch_topk),
    "radix-topk": _plain(rows.radix_topk),
    "csr-vector": _plain(sparse.csr_vector),
    "csr-matrix": _plain(sparse.csr_matrix),
    "torch-decode": _attention(sparse.torch_decode),
    "sparq-decode": _attention(sparse.sparq_decode, "channels", "chosen"),
    "quest-attention": _attention(sparse.quest_attention, "chosen"),
    "hip-decode": _attention(sparse.hip_decode, "chosen"),
    "mustafar-decode": _attention(sparse.mustafar_decode, "density"),
}
"""Name -> launches of a shape on a device."""


def library_launches(kernel: str, shape: Shape, device: Device) -> list[Launch]:
    """Return what a library launches for a shape.

    Raises:
        InputError: an unknown kernel, or a shape with other fields than it has.
    """
    if kernel not in KERNELS:
        raise InputError(unknown_name("library kernel", kernel, KERNELS))
    try:
        return KERNELS[kernel](shape, device)
    except (TypeError, KeyError) as error:
        raise InputError(
            f"shape of {kernel} must have the fields of the kernel, it has "
            f"{', '.join(shape)}: {error}"
        ) from None
