"""Compilation by nvcc, which needs no GPU, and by a fake nvcc, which needs nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from algos.kernels import nvcc
from algos.kernels.base import Kernel, Program
from algos.kernels.built import definitions
from algos.kernels.compile import compile_program
from workloads.errors import InputError

Make = Callable[..., Program]
TOLD = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'probe_scaled' for 'sm_80'
ptxas info    : Function properties for probe_scaled
    {stack} bytes stack frame, {spill} bytes spill stores, {spill} bytes spill loads
ptxas info    : Used 37 registers, used 1 barriers, 400 bytes cmem[0]{shared}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a compiler on PATH that writes a line a call, a cubin, a PTX and what ptxas tells."""

    def put(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "nvcc").write_text(
            "#!/bin/sh\n"
            'if [ "$1" = --version ]; then echo fake 1.0; exit; fi\n'
            f'echo "$@" >> {tmp_path}/calls\n' + script
        )
        (folder / "nvcc").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return tmp_path / "calls"

    return put


WRITE = """
while [ $# -gt 0 ]; do
  case "$1" in -keep-dir) keep="$2";; -o) out="$2";; esac; shift
done
echo cubin > "$out"; echo .target > "$keep/kernel.ptx"; touch "$keep/kernel.cpp4.ii"
cat >&2 <<END
"""


def scaled(program: Make, **rest: object) -> Program:
    return program("probe_scaled", "*fp32 *fp32 fp32 i32", constants={"BIAS": 0.5}, **rest)


@pytest.mark.usefixtures("fresh_cache")
def test_resources_are_what_ptxas_tells(
    probe: Kernel, program: Make, fake: Callable[..., Path]
) -> None:
    calls = fake(WRITE + TOLD.format(stack=8, spill=4, shared=", 96 bytes smem") + "END\n")
    found = compile_program(probe, scaled(program, shared_bytes=1000), "sm_80")
    assert (found.registers, found.spilled_bytes, found.shared_bytes) == (37, 8, 1096)
    assert found.ptx == ".target\n"
    told = calls.read_text()
    assert "-arch=sm_80" in told
    assert "-DFUNCTION_probe_scaled=1 -DBIAS=0.5f -DWARPS=1 -DSHARED_BYTES=1000" in told


def test_a_kernel_is_compiled_once_for_each_constant_and_target(
    probe: Kernel, program: Make, fake: Callable[..., Path], fresh_cache: Path
) -> None:
    calls = fake(WRITE + TOLD.format(stack=0, spill=0, shared="") + "END\n")
    for target in ("sm_80", "sm_80", "sm_90"):
        compile_program(probe, scaled(program), target)
    assert len(calls.read_text().splitlines()) == 2
    compile_program(probe, scaled(program, warps=2), "sm_80")
    assert len(calls.read_text().splitlines()) == 3
    kept = sorted(path.name for path in next(fresh_cache.iterdir()).iterdir())
    assert kept == ["kernel.cubin", "kernel.ptx", "ptxas.txt"]
    assert len(list(fresh_cache.iterdir())) == 3


def test_code_that_does_not_compile_is_told_and_not_kept(
    probe: Kernel, program: Make, fake: Callable[..., Path], fresh_cache: Path
) -> None:
    fake("echo 'kernel.cu(3): error: identifier \"x\" is undefined' >&2; exit 2\n")
    with pytest.raises(InputError, match=r'nvcc refuses it: kernel.cu\(3\): error: identifier "x"'):
        compile_program(probe, scaled(program), "sm_90")
    assert not list(fresh_cache.iterdir())


def test_a_silent_assembler_is_told(
    probe: Kernel, program: Make, fake: Callable[..., Path], fresh_cache: Path
) -> None:
    fake(WRITE + "nothing\nEND\n")
    with pytest.raises(InputError, match="ptxas must tell registers, it said 'nothing'"):
        compile_program(probe, scaled(program), "sm_90")


def test_a_missing_nvcc_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvcc, "USUAL", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(InputError, match="must have nvcc, it is neither on PATH, nor in CUDA_HOME"):
        nvcc.compiler()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch(0o755)
    assert nvcc.compiler() == tmp_path / "bin" / "nvcc"


def test_constants_become_definitions(program: Make) -> None:
    made = program("f", "", constants={"FLAG": True, "SIZE": 64, "SCALE": 0.25}, warps=4)
    wanted = ["-DFUNCTION_f=1", "-DFLAG=1", "-DSIZE=64", "-DSCALE=0.25f"]
    wanted += ["-DWARPS=4", "-DSHARED_BYTES=0"]
    assert definitions(made)[1:] == wanted


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_the_real_compiler_makes_the_promised_instructions(
    probe: Kernel, program: Make, target: str
) -> None:
    try:
        nvcc.compiler()
    except InputError:
        pytest.skip("nvcc is not installed")
    found = compile_program(probe, program("probe_mma", "*i32 *i32 *i32 *i32"), target)
    assert "mma.sp::ordered_metadata.sync.aligned.m16n8k64" in found.ptx
    assert found.spilled_bytes == 0
    assert 0 < found.registers < 64
    async_ = program("probe_async", "*i32 *i32", constants={"WAIT": 1}, shared_bytes=1024)
    found = compile_program(probe, async_, target)
    assert "cp.async.cg.shared.global" in found.ptx
    assert found.shared_bytes == 1024
