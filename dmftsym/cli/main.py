"""The command line: compile, derive, solve, models, bench."""

import math
import signal
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from dmftsym.errors import DmftsymError, LanguageError, SolveError, one_line, out_of_memory
from dmftsym.language.symbols import Kind
from dmftsym.options import Options
from dmftsym.runtime import interrupts
from dmftsym.version import __version__

UsageError: Any = typer.BadParameter.__mro__[1]  # of Click, which newer versions of Typer have inside

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a DMFT action to equations and solvers.",
)

Show = Literal["disorder", "action", "process", "saddle", "hessian", "propagator", "schedule", "program", "code"]
Format = Literal["text", "latex", "html"]
Measure = Literal["auto", "gaussian", "hermite", "sobol", "monte-carlo"]
Backend = Literal["numba", "cupy"]
Scheme = Literal["euler", "heun"]
AnyBackend = Literal["numba", "cupy", "auto"]
Precision = Literal["float64", "float32"]

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A library name or the path of a Python file.")]
SetOption = Annotated[list[str], typer.Option("--set", metavar="NAME=VALUE", help="Structure, e.g. activation=relu.")]
OutputsOption = Annotated[str, typer.Option("--outputs", metavar="A,B,...", help="Compute these quantities as well.")]
CovarianceOption = Annotated[
    str, typer.Option("--covariance", metavar="A,B,...", help="Finite-width covariances N·Cov of these quantities.")
]
BackendOption = Annotated[Backend, typer.Option(help="Target of the generated code.")]
SchemeOption = Annotated[Scheme, typer.Option(help="Time steps of continuous models: of first or of second order.")]


def main() -> None:
    """Run the command line; user errors end with status 2 and one line."""
    with interrupts.noted() as signals:
        try:
            status = app(standalone_mode=False)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                print(error.format_message(), file=sys.stderr)
                sys.exit(2)
            _refuse(error.format_message())
        except DmftsymError as error:
            _refuse(str(error))
        except MemoryError as error:
            _refuse(out_of_memory(error))
        except (typer.Abort, KeyboardInterrupt):
            status = 130
    if status == 130:  # what Typer makes of every KeyboardInterrupt
        terminated = signals[-1:] == [signal.SIGTERM]
        _refuse(f"{'terminated' if terminated else 'interrupted'}, nothing was written", 143 if terminated else 130)
    if status:
        sys.exit(status)


def _refuse(message: str, status: int = 2) -> NoReturn:
    print(f"dmftsym: {one_line(message)}", file=sys.stderr)
    sys.exit(status)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"dmftsym {__version__}")
        raise typer.Exit


@app.command("compile")
def compile_command(
    model: ModelArgument,
    settings: SetOption = [],  # noqa: B006  Typer reads the default
    backend: BackendOption = "numba",
    outputs: OutputsOption = "",
    covariance: CovarianceOption = "",
    scheme: SchemeOption = "euler",
    output: Annotated[Path, typer.Option("-o", "--output", help="The module to write.")] = Path("solver.py"),
) -> None:
    """Write a standalone solver module."""
    from dmftsym.runtime.results import check_output

    check_output(output)
    compiled = _compiled(model, settings, _options(outputs, covariance, backend, scheme))
    source = compiled.source
    _warn(compiled.derivation)
    _write(output, source.text)
    print(f"{output}: {source.name}, {source.target}, {len(source.text.splitlines())} lines")


@app.command("derive")
def derive_command(
    model: ModelArgument,
    settings: SetOption = [],  # noqa: B006
    show: Annotated[Show | None, typer.Option(help="One part; default: disorder, action, process, saddle.")] = None,
    form: Annotated[Format, typer.Option("--format", help="Format of the equations.")] = "text",
    graph: Annotated[
        Path | None, typer.Option(help="Draw which order parameter drives which (.svg, .pdf, .png).")
    ] = None,
    outputs: OutputsOption = "",
    covariance: CovarianceOption = "",
    backend: BackendOption = "numba",
    scheme: SchemeOption = "euler",
) -> None:
    """Print the derived equations."""
    from dmftsym.derivation.document import code_page, document

    if graph:
        from dmftsym.runtime.results import check_output

        check_output(graph)
    if show in ("schedule", "program", "code"):
        compiled = _compiled(model, settings, _options(outputs, covariance, backend, scheme))
        if show == "schedule":
            records = (compiled.liveness, compiled.schedule, *([compiled.feedback] if compiled.feedback else []))
            print(document(model, records, form))
        else:
            text = compiled.source.text
            if show == "program":
                more = [str(compiled.fluctuations)] if compiled.fluctuations else []
                text = "\n\n".join([str(compiled.program), *more])
            print(code_page(model, text.rstrip(), form))
        return
    from dmftsym.compiler import derive

    derivation = derive(_model(model, settings))
    if show == "disorder" and derivation.disorder is None:
        raise LanguageError(f"model {derivation.action.name} says no random matrix, m.matrix(...): its action is given")
    parts = {"saddle": "saddle_point"}
    records = (getattr(derivation, parts.get(show, show)),) if show else derivation.parts
    if show:
        _warn(derivation)
    if graph:
        _write(graph, _picture(derivation.propagator.figure(), graph))
    print(document(derivation.action.name, records, form))


@app.command("solve")
def solve_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT.nc", help="The netCDF file to write.")],
    settings: SetOption = [],  # noqa: B006
    parameter: Annotated[list[str], typer.Option("-p", metavar="NAME=VALUE", help="A parameter.")] = [],  # noqa: B006
    data: Annotated[Path | None, typer.Option(metavar="FILE", help="Arrays by name: .npz, .nc or .csv.")] = None,
    steps: Annotated[int, typer.Option(help="Number of times, the initial one included.")] = 100,
    dt: Annotated[float | None, typer.Option(help="Time step; default: that of the model.")] = None,
    measure: Annotated[Measure, typer.Option(help="Averaging rule.")] = "auto",
    points: Annotated[int | None, typer.Option(help="Sample paths in all (hermite: nodes a dimension).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    covariance: CovarianceOption = "",
    covariance_points: Annotated[int | None, typer.Option(help="The same for the covariances.")] = None,
    accuracy: Annotated[
        float, typer.Option(help="Relative error up to which the status is ok (covariances: three times that).")
    ] = 0.05,
    tolerance: Annotated[
        float | None, typer.Option(help="Variance that random matrices leave out; default: one over the paths.")
    ] = None,
    time_step_error: Annotated[
        bool, typer.Option(help="Solve a continuous model with twice the time step too, for its error.")
    ] = True,
    outputs: OutputsOption = "",
    backend: Annotated[AnyBackend, typer.Option(help="Target; auto: a GPU if one is present and faster.")] = "numba",
    scheme: SchemeOption = "euler",
    precision: Annotated[Precision, typer.Option(help="Of the sample paths; float32 needs cupy.")] = "float64",
) -> None:
    """Compile a model, solve it and write the result."""
    from dmftsym.runtime.data import load_data
    from dmftsym.runtime.results import check_output, save

    check_output(output)
    arrays = load_data(data) if data else {}
    numbers = {name: _number(name, value) for name, value in _pairs("-p", parameter)}
    shapes = {name: array.shape for name, array in arrays.items()}
    options = _options(outputs, covariance, "numba" if backend == "auto" else backend, scheme)
    compiled = _compiled(model, settings, options, shapes, numbers)
    if data and data.suffix == ".nc":  # which may hold more than data, as results do
        known = [d.tensor.name for d in compiled.program.facts.data]
        arrays = {name: array for name, array in arrays.items() if name in known} or arrays
    if backend == "auto" and _device_gains(compiled, numbers, arrays, steps, points):
        compiled = _compiled(model, settings, replace(options, backend="cupy"), shapes, numbers)
    _warn(compiled.derivation)
    with interrupts.watched():  # also while the result is written
        result = compiled.solve(
            numbers,
            arrays,
            steps=steps,
            dt=dt,
            measure=measure,
            points=points,
            seed=seed,
            covariance_points=covariance_points,
            precision=precision,
            accuracy=accuracy,
            tolerance=tolerance,
            time_step_error=time_step_error,
        )
        save(result, output)
    _report(result, output)


@app.command("bench")
def bench_command(
    backend: BackendOption = "cupy",
    depth: Annotated[int, typer.Option(help="Hidden layers of the network.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny cases, to see that it works.")] = False,
) -> None:
    """Measure a backend against Numba on this machine."""
    from dmftsym.cli.bench import bench, show

    show(bench(backend, depth, quick))


@app.command("models")
def models_command() -> None:
    """List the library with structure options, parameters and data."""
    from dmftsym.models.loading import find_model, library

    for name in library():
        source = find_model(name)
        model = source.build({})
        print(f"{name}: {source.summary}")
        print(f"  structure   {', '.join(f'{k}={v}' for k, v in source.options.items()) or 'none'}")
        print(f"  parameters  {', '.join(map(_parameter_text, model.parameter_symbols.values())) or 'none'}")
        data = [t for t in model.tensors.values() if t.kind == Kind.DATA]
        print(f"  data        {', '.join(_data_text(model, t) for t in data) or 'none'}")
        kinds = (Kind.ORDER_PARAMETER, Kind.OBSERVABLE, Kind.DEFINITION)
        quantities = [t for t in model.tensors.values() if t.kind in kinds and not t.site]
        on_request = [t.name for t in quantities if t.name not in model.outputs]
        more = f" (on request: {', '.join(on_request)})" if on_request else ""
        print(f"  results     {', '.join(model.outputs)}{more}")


def _device_gains(compiled, numbers, arrays, steps: int, points: int | None) -> bool:
    """Whether a run is faster on a device that is there; says why."""
    from dmftsym.runtime.backends import choose_backend

    chosen, reason = choose_backend(compiled.solver.module, numbers, arrays, steps, points)
    print(f"backend {chosen}: {reason}", file=sys.stderr)
    return chosen != "numba"


def _report(result, output: Path) -> None:
    """Print how a result was made; raises `SolveError` if it is not ok."""
    print(f"{output}: {', '.join(result.data_vars)}")
    errors = f"{result.attrs['estimated_error']:.1e}"
    of_step = result.attrs.get("time_step_error", math.nan)
    if not math.isnan(of_step):  # one step tells nothing of its length
        unsure = result.attrs["time_step_uncertainty"]
        errors += f", of the time step {of_step:.1e}" + f" ± {unsure:.1e}" * (unsure > 1e-9)
    if not result.attrs["status"].startswith("interrupted"):
        print(f"{result.attrs['measure']}; estimated relative error {errors}")
    if "directions" in result.attrs:
        dropped = result.attrs["dropped_variance"]
        print(f"random matrices: {result.attrs['directions']} directions, at most {dropped:.1e} of a variance left out")
    if "rounding_error" in result.attrs:
        print(f"single precision changes the result by {result.attrs['rounding_error']:.1e}, relative")
    if "cov_measure" in result.attrs:
        about = f"{result.attrs['cov_measure']}, {result.attrs['cov_modes']} modes"
        print(f"covariances: {about}; estimated relative error {result.attrs['cov_estimated_error']:.1e}")
    named = (("", "status"), ("covariances ", "cov_status"))
    wrong = [about + result.attrs[key] for about, key in named if result.attrs.get(key, "ok") != "ok"]
    if wrong:
        raise SolveError(f"{'; '.join(wrong)}; what was computed is in {output}")


def _warn(derivation) -> None:
    """What is worth checking in a model, beside what was asked for."""
    if derivation.worth_checking:
        print(derivation.worth_checking.text(), file=sys.stderr)


def _picture(figure, path: Path) -> bytes:
    """A Matplotlib figure in the format that the name of its file tells."""
    buffer = BytesIO()
    try:
        figure.savefig(buffer, format=path.suffix.removeprefix(".") or "no suffix", dpi=200, bbox_inches="tight")
    except ValueError as error:
        raise SolveError(f"cannot write {path}: {error}") from None
    return buffer.getvalue()


def _write(path: Path, content: str | bytes) -> None:
    from dmftsym.files import replacing

    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise SolveError(f"cannot write {path}: {error.strerror or error}") from None


def _parameter_text(parameter) -> str:
    default = "" if parameter.default is None else f"={parameter.default}"
    within = f" ({parameter.lower} to {parameter.upper})" if parameter.upper is not None else ""
    return f"{parameter.name}{default}{within}" + (f" (only {parameter.only})" if parameter.only is not None else "")


def _data_text(model, tensor) -> str:
    shape = " x ".join(i.axis.size for i in tensor.indices)
    sources = {
        str(e.tensor) for _, f in model.data_sources.get(tensor.name, ()) for e in f.atoms(type(tensor[tensor.indices]))
    }
    return f"{tensor.name} ({shape}{', or from ' + ', '.join(sorted(sources)) if sources else ''})"


def _pairs(option: str, texts: list[str]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text or not text.split("=", 1)[0].strip():
            raise DmftsymError(f"{option} takes NAME=VALUE, given: {text}")
    pairs = [(text.split("=", 1)[0].strip(), text.split("=", 1)[1].strip()) for text in texts]
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DmftsymError(f"{option} {twice[0]} is given twice")
    return pairs


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise DmftsymError(f"parameter '{name}' must be a number, given: {value}") from None


def _model(spec: str, settings: list[str], shapes=None, numbers=None):
    from dmftsym.models.loading import find_model

    return find_model(spec).build(dict(_pairs("--set", settings)), shapes, numbers)


def _options(outputs: str, covariance: str, backend, scheme) -> Options:
    names, varied = (tuple(name.strip() for name in text.split(",") if name.strip()) for text in (outputs, covariance))
    return Options(backend=backend, outputs=names, covariance=varied, scheme=scheme)


def _compiled(spec: str, settings: list[str], options: Options, shapes=None, numbers=None):
    from dmftsym.compiler import compile_model

    return compile_model(_model(spec, settings, shapes, numbers), options)


if __name__ == "__main__":
    main()
