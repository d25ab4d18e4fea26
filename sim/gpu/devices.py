"""GPUs as data: what bounds a kernel on each, with sources.

Rates of a streaming multiprocessor (SM) are from the CUDA C++ Programming Guide, "Arithmetic
Instructions", and from NVIDIA's architecture white papers; they reproduce the data sheets' peaks.
Bandwidths and latencies that were measured are from te42kyfo/gpu-benches (gpu-stream, gpu-l2-cache,
gpu-latency, gpu-small-kernels), where the V100 is a PCIe card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workloads.config import unknown_name
from workloads.errors import InputError
from workloads.gpu_launch import SM_80, SM_90, SmLimits

SM_61 = SmLimits(warps=64, blocks=32, shared_bytes=96 * 1024, block_shared_bytes=48 * 1024)
SM_70 = SmLimits(warps=64, blocks=32, shared_bytes=96 * 1024, block_shared_bytes=96 * 1024)
SM_89 = SmLimits(warps=48, blocks=24, shared_bytes=100 * 1024, block_shared_bytes=99 * 1024)


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the model knows of a GPU."""

    name: str
    title: str
    architecture: str
    """pascal, volta, ampere, ada, hopper or blackwell: efficiency curves are named by it"""
    limits: SmLimits
    sms: int
    clock_hz: float
    """boost clock of the matrix units' peak"""
    rates: Mapping[str, float]
    """pipe -> operations of a clock of one SM; "tensor_fp16" is missing without matrix units"""
    dram_gbps: float
    """peak"""
    memory: str
    """kind of DRAM, HBM3e counting as HBM3: names the share of the peak that kernels reach"""
    stream_gbps: float | None
    """measured by three streams (triad); None: none was published of this very card"""
    l2_bytes: int
    l2_gbps: float
    """read, all SMs, operands within the L2 cache"""
    l2_ns: float
    """latency of a load that hits the L2 cache"""
    dram_ns: float
    """latency of a load that misses it"""
    launch_ns: float
    """from launch to launch of small kernels in a stream"""
    graph_ns: float
    """the same in a CUDA graph"""
    sources: tuple[str, ...]
    estimates: tuple[str, ...] = ()
    """fields that nothing published gives for this very card, and where they come from"""

    def peak(self, pipe: str) -> float:
        """Return operations a second of all SMs; 0: the device lacks the unit."""
        return self.rates.get(pipe, 0.0) * self.sms * self.clock_hz


def _rates(
    fp32: float, special: float, int32: float = 64, fp16: float = 0, int8: float = 0
) -> dict[str, float]:
    rates = {"fp32": fp32, "special": special, "int32": int32}
    if fp16:
        rates["tensor_fp16"] = fp16
    if int8:
        rates["tensor_int8"] = int8
    return rates


_BENCHES = "te42kyfo/gpu-benches"
_LIMITS_PAPER = "clock, L2, DRAM: PMC10448217, table 3"
_AICONFIGURATOR = "DRAM and matrix peaks: ai-dynamo/aiconfigurator systems/*_sxm.yaml"
_MIB = 1024 * 1024


def _a100(name: str, title: str, memory: str, dram_gbps: float, stream_gbps: float) -> Device:
    return Device(
        name=name,
        title=title,
        architecture="ampere",
        limits=SM_80,
        sms=108,
        clock_hz=1.410e9,
        rates=_rates(fp32=128, special=16, fp16=2048, int8=4096),
        dram_gbps=dram_gbps,
        memory=memory,
        stream_gbps=stream_gbps,
        l2_bytes=40 * _MIB,
        l2_gbps=5400,
        l2_ns=211 / 1.410,
        dram_ns=571 / 1.410,
        launch_ns=2600,
        graph_ns=1300,
        sources=(_LIMITS_PAPER, _AICONFIGURATOR, f"stream, L2, latency, launch: {_BENCHES}"),
    )


# The streams that gpu-benches measured on an H200, 3.5 TB/s, are below what published kernels reach
# on it (4.4 TB/s), so they are not used.
def _hopper(name: str, title: str, dram_gbps: float, memory: str) -> Device:
    return Device(
        name=name,
        title=title,
        architecture="hopper",
        limits=SM_90,
        sms=132,
        clock_hz=1.830e9,
        rates=_rates(fp32=256, special=16, fp16=4096, int8=8192),
        dram_gbps=dram_gbps,
        memory=memory,
        stream_gbps=None,
        l2_bytes=50 * _MIB,
        l2_gbps=9800,
        l2_ns=265 / 1.755,
        dram_ns=650 / 1.755,
        launch_ns=2400,
        graph_ns=1300,
        sources=(
            "clocks, shared memory: glennklockwood.com, h100",
            _AICONFIGURATOR,
            f"L2 bandwidth and launch of an H200, latency of an H100 PCIe: {_BENCHES}",
        ),
        estimates=(
            "clock: 1.83 GHz, of the published matrix peak, for all pipes; the most is 1.98",
            *(
                ()
                if name == "h200"
                else ("L2 bandwidth and launch: as of the H200, the same chip",)
            ),
            "latency: of the PCIe card, at its 1.755 GHz",
        ),
    )


_ADA_ESTIMATES = (
    "L2 bandwidth 5 TB/s, latencies 110 and 260 ns: typical of published microbenchmarks",
    "launch: as of the A100 and H200",
)


def _ada(
    name: str, title: str, sms: int, clock_hz: float, fp16: float, dram_gbps: float, l2_mib: int
) -> Device:
    return Device(
        name=name,
        title=title,
        architecture="ada",
        limits=SM_89,
        sms=sms,
        clock_hz=clock_hz,
        rates=_rates(fp32=256, special=16, fp16=fp16, int8=2048),
        dram_gbps=dram_gbps,
        memory="GDDR6",
        stream_gbps=None,
        l2_bytes=l2_mib * _MIB,
        l2_gbps=5000,
        l2_ns=110,
        dram_ns=260,
        launch_ns=2500,
        graph_ns=1300,
        sources=("NVIDIA Ada GPU architecture white paper (SMs, clock, matrix peaks, DRAM, L2)",),
        estimates=_ADA_ESTIMATES,
    )


_ALL = (
    _a100("a100", "A100 80 GB SXM", "HBM2e", 2039, 1759),
    _a100("a100-40", "A100 40 GB SXM", "HBM2", 1555, 1360),
    _hopper("h100", "H100 SXM5", 3350, "HBM3"),
    _hopper("h200", "H200 SXM", 4800, "HBM3"),
    _hopper("h800", "H800 SXM", 3350, "HBM3"),
    Device(
        name="titan-xp",
        title="TITAN Xp",
        architecture="pascal",
        limits=SM_61,
        sms=30,
        clock_hz=1.582e9,
        rates=_rates(fp32=256, special=32, int32=128, int8=1024),
        dram_gbps=547.7,
        memory="GDDR5X",
        stream_gbps=None,
        l2_bytes=3 * _MIB,
        l2_gbps=1200,
        l2_ns=216 / 1.582,
        dram_ns=350,
        launch_ns=3500,
        graph_ns=1800,
        sources=(
            "SMs, clock, DRAM: NVIDIA's TITAN Xp specification",
            "int8 is dp4a on the fp32 lanes: 48.6 Top/s",
        ),
        estimates=(
            "L2: 24 slices of 32 bytes a clock; latencies: as of other Pascal chips",
            "launch: slower than of later devices",
        ),
    ),
    Device(
        name="v100",
        title="V100",
        architecture="volta",
        limits=SM_70,
        sms=80,
        clock_hz=1.530e9,
        rates=_rates(fp32=128, special=16, fp16=1024, int8=512),
        dram_gbps=900,
        memory="HBM2",
        stream_gbps=814,
        l2_bytes=6 * _MIB,
        l2_gbps=2400,
        l2_ns=215 / 1.380,
        dram_ns=436 / 1.380,
        launch_ns=2600,
        graph_ns=1300,
        sources=(
            _LIMITS_PAPER,
            "matrix peak 125 Tflop/s: NVIDIA V100 data sheet",
            f"stream, L2, latency: {_BENCHES}",
        ),
        estimates=("launch: as of the A100",),
    ),
    _ada("rtx-4090", "GeForce RTX 4090", 128, 2.520e9, 512, 1008, 72),
    _ada("rtx-6000-ada", "RTX 6000 Ada", 142, 2.505e9, 1024, 960, 96),
    Device(
        name="b200",
        title="B200",
        architecture="blackwell",
        limits=SM_90,
        sms=148,
        clock_hz=1.850e9,
        rates=_rates(fp32=256, special=16, fp16=8192, int8=16384),
        dram_gbps=8000,
        memory="HBM3",
        stream_gbps=None,
        l2_bytes=126 * _MIB,
        l2_gbps=10_000,
        l2_ns=180,
        dram_ns=430,
        launch_ns=2400,
        graph_ns=1300,
        sources=("DRAM: modal.com, gpu-glossary", "matrix peak 2250 Tflop/s: NVIDIA data sheet"),
        estimates=("SMs, clock, L2, latencies, launch; limits of an SM as of sm_90",),
    ),
)

DEVICES: dict[str, Device] = {device.name: device for device in _ALL}
"""Name -> device; reports call a modelled one `modelled:NAME`."""


def make_device(name: str) -> Device:
    """Return a device by name.

    Raises:
        InputError: an unknown name, with the nearest valid one.
    """
    if name not in DEVICES:
        raise InputError(unknown_name("device", name, DEVICES))
    return DEVICES[name]
