"""The command line. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from reports import cli_bench, cli_kernels, cli_rtl
from reports.errors import Interrupted
from workloads.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="prunesim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What a pruning method really buys on a given accelerator.",
    epilog="Start with: prunesim run",
)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function a command: a user's mistake is one sentence on stderr and exit code 2."""

    return app.command(function.__name__.rstrip("_"))(told(function))


def told(function: Callable[P, R]) -> Callable[P, R]:
    """Turn a user's mistake into one sentence on stderr and exit code 2."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise _stop(str(error), 2) from None
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            raise _stop(f"{what}{error.strerror or error}", 2) from None
        except Interrupted as kept:
            raise _stop(str(kept), 130) from None
        except KeyboardInterrupt:
            raise _stop("stopped; nothing was written", 130) from None

    return wrapped


def _stop(sentence: str, code: int) -> typer.Exit:
    typer.echo(f"prunesim: {' '.join(sentence.split())}", err=True)
    return typer.Exit(code)


Workload = Annotated[str, typer.Option(help="What the model reads; `prunesim list workloads`.")]
Method = Annotated[str, typer.Option(help="Pruning method; `prunesim list methods`.")]
Machine = Annotated[str, typer.Option(help="Accelerator; `prunesim list machines`.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a field of the method or the machine, as value_topk.lanes=32. Repeatable. "
        "Write method.NAME or machine.NAME where both have it.",
    ),
]
Sentences = Annotated[
    Path | None, typer.Option(metavar="FILE.tsv", help="Your own sentence pairs, tab separated.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only the first so many inputs.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"prunesim {version('prunesim')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


@command
def run(
    workload: Workload = "minilm-sentences",
    method: Method = "spatten",
    machine: Machine = "spatten",
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Default: runs/WORKLOAD-METHOD-MACHINE."),
    ] = None,
    sentences: Sentences = None,
    limit: Limit = None,
    seed: Seed = 0,
    json: Json = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Skip the HTML report.")] = False,
) -> None:
    """Prune a real model, simulate the traces and report what was gained."""
    from reports.job import Job, run_job
    from reports.show import show_run

    job = Job(
        workload=workload,
        method=method,
        machine=machine,
        settings=set_ or [],
        out=out or Path("runs") / f"{workload}-{method}-{Path(machine).stem}",
        sentences=sentences,
        limit=limit,
        seed=seed,
        report=not no_report,
    )
    show_run(run_job(job, visible=not json), as_json=json)


@command
def trace(
    out: Annotated[Path, typer.Option(metavar="X.trace", help="Folder of the trace.")],
    workload: Workload = "minilm-sentences",
    method: Method = "spatten",
    set_: Set = None,
    sentences: Sentences = None,
    limit: Limit = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Run a pruning method on a model and write its sparsity trace."""
    from reports.job import Job, run_trace
    from reports.show import show_trace

    job = Job(
        workload=workload,
        method=method,
        machine=None,
        settings=set_ or [],
        out=out,
        sentences=sentences,
        limit=limit,
        seed=seed,
        report=False,
    )
    show_trace(run_trace(job, visible=not json), out, as_json=json)


@command
def simulate(
    trace: Annotated[Path, typer.Argument(help="A trace folder, or a SpAtten workload CSV.")],
    machine: Machine = "spatten",
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write results and a report there.")
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the first operations as Chrome trace JSON."),
    ] = None,
    iteration: Annotated[
        int | None, typer.Option(min=0, help="Only this iteration_id of a workload CSV.")
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write when each row was answered (spatten-rtl)."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a trace on a machine; modelled:h100 predicts it on a GPU."""
    from reports.job import Outputs, run_simulation
    from reports.show import show_result

    wanted = Outputs(out, timeline, rows)
    if machine.startswith("modelled:"):
        from reports.gpu.trace_times import check_options, run_times, show_times

        check_options(set_ or [], wanted)
        show_times(run_times(trace, machine, iteration, visible=not json), as_json=json)
        return
    result = run_simulation(trace, machine, set_ or [], iteration, wanted, visible=not json)
    show_result(result, out, as_json=json)


@command
def inspect(
    trace: Annotated[Path, typer.Argument(help="A trace folder, or a SpAtten workload CSV.")],
    json: Json = False,
) -> None:
    """Show what a trace holds: header, rows, and what each layer keeps."""
    from reports.catalog import open_trace
    from reports.console import print_json, print_line, print_table
    from reports.inspection import inspect_trace, layer_picture, summary_lines

    found = inspect_trace(open_trace(trace))
    if json:
        print_json(found)
        return
    for line in summary_lines(found):
        print_line(line)
    print_table(layer_picture(found))


@command
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER [OTHER]", help="A run or a sweep; or two.")
    ],
    figure: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Draw only this figure, into FOLDER/figures."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Page of two compared; default: compare.html."),
    ] = None,
    json: Json = False,
) -> None:
    """Draw the report of a run or a sweep again, or compare two of them."""
    from reports import report as reporting

    reporting.command(folders, figure, out, as_json=json)


@command
def reproduce(
    paper: Annotated[str, typer.Argument(metavar="spatten|accllm")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Default: runs/reproduce-PAPER.")
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The authors' workload files, run beside the rest."),
    ] = None,
    json: Json = False,
) -> None:
    """Reproduce a paper: one page and one CSV, published values beside ours."""
    from reports.console import print_json, print_line
    from reports.reproduction import headline
    from reports.reproduction import reproduce as run_experiments

    folder = out or Path("runs") / f"reproduce-{paper}"
    done = run_experiments(paper, folder, traces, visible=not json)
    if json:
        claims = done.table.astype(object).where(done.table.notna(), None)
        print_json({"page": str(done.page), "claims": claims.to_dict("records")})
        return
    print_line(headline(done.table))
    print_line(f"page: {done.page}   table: {folder / 'claims.csv'}")


@command
def baselines(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Page, tables and figures.")] = Path(
        "runs/baselines"
    ),
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Modelled GPU; default: a100 h100 h200 titan-xp."),
    ] = None,
    figure: Annotated[
        str | None, typer.Option(metavar="NAME", help="Draw this figure alone.")
    ] = None,
    json: Json = False,
) -> None:
    """Put accelerators beside GPUs: dense PyTorch, dense kernels, kernels of the same sparsity."""
    from reports.gpu.baselines.command import DEVICES, run_baselines, show_baselines

    path, found = run_baselines(out, device or DEVICES, figure, visible=not json)
    show_baselines(path, found, out, as_json=json)


@command
def ladder(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Checkpoint of GPT-2, Llama or OPT; default: the tiny decoder."
        ),
    ] = None,
    prune: Annotated[
        str, typer.Option(metavar="sparsegpt|wanda|magnitude|random", help="Criterion of 2:4.")
    ] = "sparsegpt",
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Held-out text to measure loss on.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text to calibrate with; default: Python's library."),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Most windows of held-out text.")] = 16,
    sinks: Annotated[int, typer.Option(help="First tokens that the last step keeps.")] = 4,
    recent: Annotated[int, typer.Option(help="Latest tokens that it keeps.")] = 252,
    integers: Annotated[
        int, typer.Option(min=0, help="Run so many tokens in the engine's integers too (Llama).")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write table, figure and packed weights there."),
    ] = None,
    json: Json = False,
) -> None:
    """Compress a decoder step by step, 2:4 to W2A8KV4, and measure the perplexity of each."""
    from reports.ladder import LadderJob, run_ladder, show_ladder

    job = LadderJob(
        model=model,
        prune=prune,
        text=text,
        calibration=calibration,
        windows=windows,
        sinks=sinks,
        recent=recent,
        integers=integers,
        out=out,
    )
    show_ladder(run_ladder(job, visible=not json), out, as_json=json)


@command
def compare(
    family: Annotated[str, typer.Option(help="Family of methods; `prunesim list methods`.")] = "kv",
    workload: Workload = "tiny-decoder",
    machine: Machine = "spatten",
    budgets: Annotated[
        str, typer.Option(metavar="A,B,...", help="Values of keep_ratio, the common budget.")
    ] = "0.1,0.25,0.5",
    methods: Annotated[
        str, typer.Option(metavar="A,B,...", help="Only these methods; default: the whole family.")
    ] = "",
    limit: Limit = None,
    seed: Seed = 0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Default: runs/compare-FAMILY-WORKLOAD.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare all methods of a family at equal budgets: accuracy, DRAM bytes, cycles."""
    from reports.comparison.command import run_comparison

    run_comparison(
        family=family,
        workload=workload,
        machine=machine,
        budgets=budgets,
        methods=methods,
        limit=limit,
        seed=seed,
        jobs=jobs,
        out=out or Path("runs") / f"compare-{family}-{workload}",
        as_json=json,
    )


@command
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="Axes and objectives.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Default: runs/NAME of the file.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Use the workers of this Dask scheduler."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that the folder holds.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed (with --resume).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Run more than a million points.")] = False,
    json: Json = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Skip the HTML report.")] = False,
) -> None:
    """Run a design-space sweep: every point once, none lost, a Pareto front at the end."""
    from reports.sweeping import command as sweeping

    sweeping.command(
        file,
        out or Path("runs") / file.stem,
        jobs=jobs,
        dask=dask,
        resume=resume,
        retry_failed=retry_failed,
        large=yes,
        report=not no_report,
        as_json=json,
    )


@command
def attention(
    model: Annotated[
        str, typer.Option(metavar="tiny-decoder|tiny-moe|tiny-vit|tiny-vlm", help="Which model.")
    ] = "tiny-decoder",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw layers against heads there.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure where each head of a tiny model looks: sinks, neighbours, what came before."""
    from reports.attention import run_attention, show_attention

    show_attention(run_attention(model, out, visible=not json), out, as_json=json)


@command
def list_(
    what: Annotated[
        str, typer.Argument(metavar="methods|systems|machines|workloads|blocks|kernels")
    ],
    json: Json = False,
    readme: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", hidden=True, help="Write the table of methods there."),
    ] = None,
) -> None:
    """List what there is to choose from."""
    from reports.catalog import entries
    from reports.console import print_json, print_line, print_table, shown_width
    from reports.listing import listing

    found = entries(what)
    if readme is not None:
        from reports.method_table import write_table

        if what != "methods":
            raise InputError(f"--readme must stand with methods, not with {what}")
        write_table(readme)
        print_line(f"table: {readme}")
    elif json:
        print_json(found)
    else:
        print_table(listing(what, found, shown_width()))


app.add_typer(cli_rtl.add_commands(told), name="rtl")
app.add_typer(cli_kernels.add_commands(told), name="kernels")
app.add_typer(cli_bench.add_commands(told), name="bench")


def main(arguments: Any = None) -> None:
    """Run the command line; the entry point of the installed command."""
    try:
        app(arguments)
    finally:
        gc.freeze()  # else the interpreter searches a model's libraries for garbage as it leaves


if __name__ == "__main__":
    main()
