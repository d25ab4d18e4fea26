"""What the compiled code of every kernel needs of a GPU, and whether it keeps its promises.

Nothing is run: code is compiled ahead of time, in processes of its own, in which Triton compiles
even if this process interprets.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from algos.kernels import KERNELS, make_kernel
from algos.kernels.base import Kernel, Program
from algos.kernels.compile import Compiled, MissingCompiler, compile_program
from workloads.config import unknown_name
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS, blocks_per_sm

INSTRUCTIONS = ("wgmma", "mma.sync", "mma.sp", "ldmatrix", "cp.async", "cp.async.bulk", "dp4a")
"""What is looked for in the PTX, beside what a kernel promises."""

SHARES = tuple(round(0.05 * step, 2) for step in range(20))
"""Shares of work left out, 0 to 0.95: the points of break-even curves."""

_NOT_COMPILED = {"grid", "dram_bytes", "l2_bytes", "operations", "steps", "inflight_bytes"}
_NOT_COMPILED |= {"longest"}
_ROOT = Path(__file__).parents[2]
_OWN = "algos.kernels."


@dataclass(frozen=True)
class Item:
    """One program to compile: of which kernel and shape, for which target."""

    kernel: str
    shape: str
    """name in `Kernel.papers`, with " at SHARE" or " dense" where the shape is derived from it"""
    target: str
    program: Program


@dataclass(frozen=True)
class Row:
    """Resources of one compiled program, and the promises it breaks."""

    kernel: str
    shape: str
    function: str
    target: str
    language: str
    warps: int
    """of a block"""
    compiled: bool
    registers: int = 0
    """of a thread"""
    spilled_bytes: int = 0
    """of a thread"""
    shared_bytes: int = 0
    """of a block"""
    blocks_per_sm: int = 0
    occupancy_share: float = 0.0
    """resident warps over those that a streaming multiprocessor can hold"""
    instructions: tuple[str, ...] = ()
    """of those looked for, what the PTX holds"""
    broken: tuple[str, ...] = ()
    """a sentence for each promise that is not kept"""
    reason: str = ""
    """why it is not compiled: there is no compiler"""
    sha256: str = ""
    """of source, program and target"""

    @property
    def kept(self) -> bool:
        """Tell whether it is compiled and every promise is kept."""
        return self.compiled and not self.broken


def check_names(names: Sequence[str]) -> None:
    """Raise InputError for a name that is no kernel, with the nearest one."""
    for name in names:
        if name not in KERNELS:
            raise InputError(unknown_name("kernel", name, KERNELS))


def check_target(target: str) -> None:
    """Raise InputError for what is no target."""
    if target not in TARGETS:
        raise InputError(unknown_name("target", target, TARGETS))


def paper_items(names: Iterable[str], targets: Iterable[str]) -> list[Item]:
    """Return the programs of all paper shapes, in the order of the registry."""
    wanted, found = {*names}, []
    for name in KERNELS:
        if name in wanted:
            kernel = make_kernel(name)
            for label, shape in kernel.papers.items():
                found += _items(kernel, label, shape, targets)
    return found


def derived_items(names: Iterable[str], targets: Iterable[str]) -> list[Item]:
    """Return the programs of sparsity curves: paper shapes at every share, and their controls."""
    wanted, found = {*names}, []
    for name in KERNELS:
        if name not in wanted:
            continue
        kernel = make_kernel(name)
        if kernel.dense is None or not kernel.sparsity:
            continue
        control = make_kernel(kernel.dense)
        for label, shape in kernel.papers.items():
            found += _items(control, f"{label} dense", kernel.dense_shape(shape), targets)
            for share in SHARES:
                at = kernel.at_sparsity(shape, share)
                found += _items(kernel, f"{label} at {share:g}", at, targets)
    return found


def _items(kernel: Kernel, label: str, shape: object, targets: Iterable[str]) -> list[Item]:
    return [
        Item(kernel.name, label, target, program)
        for target in targets
        for program in kernel.programs(shape, target)
    ]


def judge(kernel: Kernel, item: Item, compiled: Compiled) -> Row:
    """Return the row of a compiled program: its resources beside the promise of its function."""
    program, limits = item.program, TARGETS[item.target]
    blocks = blocks_per_sm(limits, program.warps, compiled.registers, compiled.shared_bytes)
    promise = kernel.promises.get(program.function)
    wanted = promise.instructions.get(item.target, ()) if promise else ()
    looked = dict.fromkeys([*wanted, *INSTRUCTIONS])
    present = tuple(text for text in looked if text in compiled.ptx)
    what = f"{item.kernel} at {item.shape} on {item.target}: {program.function} must"
    broken = []
    if promise is None:
        broken.append(f"{what} have a promise, {item.kernel} has none for it")
    elif blocks < promise.blocks_per_sm:
        broken.append(
            f"{what} have {promise.blocks_per_sm} blocks a streaming multiprocessor, it has "
            f"{blocks}: {compiled.registers} registers, {compiled.shared_bytes} shared bytes"
        )
    if compiled.spilled_bytes:
        broken.append(f"{what} not spill, it spills {compiled.spilled_bytes} bytes a thread")
    broken += [f"{what} hold {text}, its PTX does not" for text in wanted if text not in present]
    return Row(
        **_head(item),
        compiled=True,
        registers=compiled.registers,
        spilled_bytes=compiled.spilled_bytes,
        shared_bytes=compiled.shared_bytes,
        blocks_per_sm=blocks,
        occupancy_share=blocks * program.warps / limits.warps,
        instructions=present,
        broken=tuple(broken),
        sha256=program_hash(kernel, program, item.target),
    )


def inspect(item: Item) -> Row:
    """Compile one program and judge it.

    Code that does not compile breaks a promise; where there is no compiler, the row says so.
    """
    kernel = make_kernel(item.kernel)
    sha256 = program_hash(kernel, item.program, item.target)
    try:
        compiled = compile_program(kernel, item.program, item.target)
    except MissingCompiler as error:
        return Row(**_head(item), compiled=False, reason=str(error), sha256=sha256)
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        sentence = (
            f"{item.kernel} at {item.shape} on {item.target}: {item.program.function} must "
            f"compile, it does not: {type(error).__name__}: {said}"
        )
        return Row(**_head(item), compiled=False, broken=(sentence,), sha256=sha256)
    return judge(kernel, item, compiled)


def inspect_apart(items: Sequence[Item], jobs: int) -> Iterator[Row]:
    """Yield the row of each item in order; they are compiled in processes of their own.

    Raises:
        InputError: a compiler that died; the program that it died of is named.
    """
    with ProcessPoolExecutor(
        max(1, min(jobs, len(items))), mp_context=get_context("spawn"), initializer=_compile_here
    ) as pool:
        futures = [pool.submit(inspect, item) for item in items]
        try:
            for item, future in zip(items, futures, strict=True):
                yield _result(item, future)
        finally:  # whoever stops asking waits for what is being compiled, not for the rest
            pool.shutdown(cancel_futures=True)


def _result(item: Item, future: Future[Row]) -> Row:
    try:
        return future.result()
    except BrokenProcessPool:
        raise InputError(
            f"{item.kernel} at {item.shape} on {item.target} must compile, the compiler died at "
            f"{item.program.function} or at one compiled beside it"
        ) from None


def _compile_here() -> None:
    os.environ.pop("TRITON_INTERPRET", None)


def _head(item: Item) -> dict[str, Any]:
    return {
        "kernel": item.kernel,
        "shape": item.shape,
        "function": item.program.function,
        "target": item.target,
        "language": item.program.language,
        "warps": item.program.warps,
    }


def program_hash(kernel: Kernel, program: Program, target: str) -> str:
    """Return SHA-256 over what the compiler sees: sources, signature, constants, target.

    The grid and what the cost model reads are not part of it.
    """
    seen = {name: value for name, value in asdict(program).items() if name not in _NOT_COMPILED}
    ordered = {
        **seen,
        "arguments": [*program.arguments.items()],
        "target": target,
    }  # the order counts
    folder = type(kernel).__module__.rpartition(".")[0]
    digest = hashlib.sha256(_sources(folder, program.language).encode())
    digest.update(json.dumps(ordered).encode())
    return digest.hexdigest()


@cache
def _sources(folder: str, language: str) -> str:
    """Return the text of what a kernel's device code is made of."""
    if language == "cuda":
        own = _ROOT.joinpath(*folder.split("."))
        files = [*own.glob("*.cu*"), *(_ROOT / "algos" / "kernels").glob("*.cu*")]
        return "\n".join(f"{file.name}\n{file.read_text('utf-8')}" for file in sorted(files))
    found: set[str] = set()
    new = {f"{folder}.triton"}
    while new:
        found |= new
        new = {name for module in new for name in _imports(module)} - found
    return "\n".join(f"{name}\n{_path(name).read_text('utf-8')}" for name in sorted(found))


def _imports(module: str) -> Iterator[str]:
    """Yield the modules of the kernels that a module imports from."""
    for node in ast.walk(ast.parse(_path(module).read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.startswith(_OWN) and _path(name).is_file())


def _path(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")).with_suffix(".py")


def tools() -> dict[str, str | None]:
    """Return the version of each compiler; None: it is missing."""
    from importlib.metadata import version

    from algos.kernels.nvcc import release

    return {"triton": version("triton") if find_spec("triton") else None, "nvcc": release()}
