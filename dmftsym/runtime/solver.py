"""`Solver`: a loaded generated module with a labelled interface. Nothing here needs SymPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from types import ModuleType

import numpy as np
import xarray as xr

from dmftsym.errors import SolveError, out_of_memory
from dmftsym.files import UNWRITABLE, without_cache
from dmftsym.runtime.cache import load_module, reload_uncached
from dmftsym.runtime.interrupts import Watch, at_once, watched
from dmftsym.runtime.parallel import alone, serial, threads_are_lost
from dmftsym.runtime.progress import asking, progress_bar
from dmftsym.runtime.results import stopwatch, to_dataset


@dataclass(frozen=True, repr=False)
class Solver:
    """A generated module, loaded when it is first used; it can be copied, pickled and sent to other processes.

    Raises `SolveError` then if its backend is not installed.
    """

    name: str
    text: str

    def __repr__(self) -> str:
        return f"<Solver {self.name}: {self.text.count(chr(10))} lines of code>"

    def __getstate__(self) -> dict:
        return {"name": self.name, "text": self.text}  # the module is loaded again where it is needed

    @cached_property
    def module(self) -> ModuleType:
        """The generated module, through the cache of compiled code."""
        try:
            return load_module(self.name, self.text)
        except ModuleNotFoundError as error:
            if error.name != "cupy":
                raise
            raise SolveError("the backend cupy needs CuPy and a CUDA device: pip install cupy-cuda12x") from None

    def solve(
        self,
        parameters: Mapping[str, float] | None = None,
        data: Mapping[str, np.ndarray] | None = None,
        *,
        steps: int,
        dt: float | None = None,
        measure: str = "auto",
        points: int | None = None,
        seed: int = 0,
        covariance_points: int | None = None,
        precision: str = "float64",
        accuracy: float = 0.05,
        tolerance: float | None = None,
        time_step_error: bool = True,
        progress: bool | None = None,
    ) -> xr.Dataset:
        """Solve the saddle-point equations at the times 0, dt, ..., (steps - 1) dt, then the fluctuations if compiled.

        Returns a Dataset with one variable a quantity (dimensions in declaration order), `se_<name>` beside it where
        sampling was used, and attributes model, parameters, measure, status, estimated_error, time_step_error,
        wall_time. `status` is "ok", "inaccurate: ..." if an error relative to the scale of its quantity is above
        `accuracy` (of a covariance: above three times that), "diverged: ..." or, when SIGINT or SIGTERM ends it after a
        step (in the main thread; a second signal ends it at once), "interrupted ..."; such a run returns what was
        computed (NaN afterwards). `time_step_error` solves continuous models with twice the time step as well, which
        tells its error. A model compiled with covariances adds `cov_<a>_<b>`, the limit of N·Cov(a, b) with the
        dimensions of a, then those of b, and `se_cov_<a>_<b>`; `covariance_points` are its sample paths in all (nodes a
        dimension where `measure` is "hermite"). A diverged run has none; where they cannot be computed, the attribute
        `cov_status` says why. `precision` "float32" (backend cupy) halves what sample paths of the mean solution take;
        the attribute `rounding_error` is what that changes on a part of them. `tolerance` is the relative variance that
        random matrices leave out of what they are asked (default: one over the paths), `directions` what they hold.
        `progress` shows a bar on runs that take longer than a moment; by default in a terminal or a notebook.
        Raises `SolveError` for unusable parameters, data or options. Cost: linear in steps for one-time quantities,
        quadratic for two-time ones, times the number of sample paths.
        """
        elapsed = stopwatch()
        special = self._special(precision, tolerance)
        options = {"steps": steps, "measure": measure, "points": points, "seed": seed}
        options["dt"] = self.module.TIME_STEP if dt is None else dt
        fluctuating = hasattr(self.module, "fluctuations")
        if fluctuating:
            self._check_covariances(parameters or {}, data or {}, options | {"points": covariance_points})
        means = options | special | {"accuracy": accuracy, "time_step_error": time_step_error}
        covariances = options | {"points": covariance_points, "accuracy": 3 * accuracy}
        given = (parameters or {}, data or {}, means, covariances, progress)
        try:
            arrays = self._computed(*given)
        except OSError as error:  # of Numba, which writes what it has compiled
            if error.errno not in UNWRITABLE:
                raise
            without_cache(str(error.filename or "folder"), error.strerror or str(error))
            vars(self)["module"] = reload_uncached(self.module, self.text)
            arrays = self._computed(*given)
        if fluctuating and any(name.startswith("cov_") for name in arrays):
            options["covariance_points"] = covariance_points
        options |= {"accuracy": accuracy} | ({"time_step_error": time_step_error} if self.module.CONTINUOUS else {})
        attributes = self._attributes(parameters or {}, {**self.module.OPTIONS, **options, **special}, seed)
        return to_dataset(self.module, arrays, attributes | {"wall_time": elapsed()})

    def _special(self, precision: str, tolerance: float | None) -> dict:
        """Options of the mean solution that not every module takes; raises `SolveError` for one that this one lacks."""
        known = signature(self.module.solve).parameters
        special: dict[str, object] = {}
        if precision != "float64":
            if "precision" not in known:
                raise SolveError(f"precision {precision} needs the backend cupy")
            special["precision"] = precision
        if tolerance is not None:
            if "tolerance" not in known:
                raise SolveError(f"tolerance {tolerance} is for random matrices, and {self.module.MODEL} holds none")
            special["tolerance"] = tolerance
        return special

    def _attributes(self, parameters: Mapping[str, float], options: Mapping, seed: int) -> dict:
        """How a result was made."""
        values = self.module.check_parameters(parameters)
        return {
            "model": self.module.MODEL,
            "model_hash": self.module.MODEL_HASH,
            "version": self.module.GENERATED_BY.split()[-1],
            "options": ", ".join(f"{k}={v}" for k, v in options.items()),
            "parameters": ", ".join(f"{name}={value!r}" for name, value in values.items()),
            **{f"parameter_{name}": value for name, value in values.items()},
            "seed": seed,
        }

    def _computed(self, parameters, data, means: dict, covariances: dict, progress: bool | None) -> dict:
        """The means, then the covariances, each by its options: all that is there when a signal comes."""
        if threads_are_lost() and serial(self.text) != self.text:
            vars(self)["module"] = load_module(self.name, serial(self.text))
        module = self.module
        try:
            with alone(), watched() as watch:
                with progress_bar(module.MODEL, enabled=progress) as report:
                    arrays = module.solve(parameters, data, progress=asking(watch, report), **means)
                usable = str(arrays["status"]).startswith(("ok", "inaccurate"))
                if not hasattr(module, "fluctuations") or not usable:
                    return arrays
                with progress_bar(f"{module.MODEL}, covariances", enabled=progress) as report:
                    found = self._fluctuations(parameters, data, covariances | {"progress": report}, watch)
                return arrays | found
        except module.InputError as error:
            raise SolveError(str(error)) from None
        except MemoryError as error:
            raise SolveError(out_of_memory(error)) from None

    def _check_covariances(self, parameters, data, options: dict) -> None:
        """What cannot be right, or takes more memory than there is, is said before anything is computed."""
        try:
            self.module.check_fluctuations(parameters, data, **options)
        except self.module.InputError as error:
            message = str(error)
            raise SolveError(message if "covariances" in message else f"covariances: {message}") from None

    def _fluctuations(self, parameters, data, options: dict, watch: Watch) -> dict:
        """The covariances, or the reason why there are none: what was solved before is not lost."""
        try:
            with at_once(watch):
                return self.module.fluctuations(parameters, data, **options)
        except self.module.InputError as error:
            return {"cov_status": np.array(f"refused: {error}")}
        except MemoryError as error:
            return {"cov_status": np.array(f"refused: {out_of_memory(error)}")}
        except KeyboardInterrupt:
            if not watch.asked:  # handlers of somebody else
                raise
            return {"cov_status": np.array("interrupted")}
