"""GPU and CPU kernels of the sparsity that the methods make, with naive twins.

Nothing here imports torch or Triton before a kernel runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from workloads.config import unknown_name
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.kernels.base import Kernel

KERNELS: dict[str, str] = {
    "dense-prefill": "algos.kernels.dense_prefill.kernel:DensePrefill",
    "dense-decode": "algos.kernels.dense_decode.kernel:DenseDecode",
    "dense-gemm": "algos.kernels.dense_gemm.kernel:DenseGemm",
    "dense-gemv": "algos.kernels.dense_gemm.kernel:DenseGemv",
    "cascade-prefill": "algos.kernels.cascade_prefill.kernel:CascadePrefill",
    "block-sparse-prefill": "algos.kernels.block_sparse_prefill.kernel:BlockSparsePrefill",
    "local-v-decode": "algos.kernels.local_v_decode.kernel:LocalVDecode",
    "progressive-decode": "algos.kernels.progressive_decode.kernel:ProgressiveDecode",
    "lambda-kv4-decode": "algos.kernels.lambda_decode.kernel:LambdaDecode",
    "channel-scores": "algos.kernels.channel_scores.kernel:ChannelScores",
    "bitmap-decode": "algos.kernels.bitmap_decode.kernel:BitmapDecode",
    "topk-select": "algos.kernels.topk_select.kernel:TopkSelect",
    "w2a8-gemm": "algos.kernels.w2a8_gemm.kernel:W2a8Gemm",
    "w2a8-gemv": "algos.kernels.w2a8_gemm.kernel:W2a8Gemv",
}
"""The only list of GPU kernels: name -> module and class. Controls come first."""


def make_kernel(name: str) -> Kernel:
    """Return a kernel by name.

    Raises:
        InputError: an unknown name, with the nearest valid one.
    """
    if name not in KERNELS:
        raise InputError(unknown_name("kernel", name, KERNELS))
    module, _, attribute = KERNELS[name].partition(":")
    kernel: Kernel = getattr(import_module(module), attribute)()
    return kernel
