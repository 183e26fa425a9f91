"""`Solver`: a loaded generated module with a labelled interface. Nothing here needs SymPy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from types import ModuleType

import numpy as np
import xarray as xr

from dmftsym.errors import SolveError
from dmftsym.runtime.cache import load_module
from dmftsym.runtime.progress import progress_bar
from dmftsym.runtime.results import stopwatch, to_dataset


@dataclass(frozen=True)
class Solver:
    """A generated module, loaded when it is first used.

    Raises `SolveError` then if its backend is not installed.
    """

    name: str
    text: str

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
        time_step_error: bool = True,
        progress: bool = False,
    ) -> xr.Dataset:
        """Solve the saddle-point equations at the times 0, dt, ..., (steps - 1) dt, then the fluctuations if compiled.

        Returns a Dataset with one variable a quantity (dimensions in declaration order), `se_<name>` beside it where
        sampling was used, and attributes model, parameters, measure, status, estimated_error, time_step_error,
        wall_time. `status` is "ok", "inaccurate: ..." if an error relative to the scale of its quantity is above
        `accuracy` (of a covariance: above three times that), or "diverged: ..."; a diverged run returns what was
        computed (NaN afterwards). `time_step_error` solves continuous models with twice the time step as well, which
        tells its error. A model compiled with covariances adds `cov_<a>_<b>`, the limit of N·Cov(a, b) with the
        dimensions of a, then those of b, and `se_cov_<a>_<b>`; `covariance_points` are its sample paths in all (nodes a
        dimension where `measure` is "hermite"). A diverged run has none; where they cannot be computed, the attribute
        `cov_status` says why. `precision` "float32" (backend cupy) halves what sample paths of the mean solution take;
        the attribute `rounding_error` is what that changes on a part of them.
        Raises `SolveError` for unusable parameters, data or options. Cost: linear in steps for one-time quantities,
        quadratic for two-time ones, times the number of sample paths.
        """
        elapsed = stopwatch()
        single = {"precision": precision} if precision != "float64" else {}
        if single and "precision" not in signature(self.module.solve).parameters:
            raise SolveError(f"precision {precision} needs the backend cupy")
        options = {"steps": steps, "measure": measure, "points": points, "seed": seed}
        options["dt"] = self.module.TIME_STEP if dt is None else dt
        fluctuating = hasattr(self.module, "fluctuations")
        if fluctuating:
            self._check_covariance_options(options | {"points": covariance_points, "accuracy": accuracy})
        try:
            with progress_bar(self.module.MODEL, enabled=progress) as report:
                judged = {"accuracy": accuracy, "time_step_error": time_step_error, "progress": report}
                arrays = self.module.solve(parameters or {}, data or {}, **options, **judged, **single)
            if fluctuating and str(arrays["status"]).startswith(("ok", "inaccurate")):
                with progress_bar(f"{self.module.MODEL}, covariances", enabled=progress) as report:
                    more = {"points": covariance_points, "accuracy": 3 * accuracy, "progress": report}
                    arrays |= self._fluctuations(parameters or {}, data or {}, options | more)
                options["covariance_points"] = covariance_points
            options |= {"accuracy": accuracy} | ({"time_step_error": time_step_error} if self.module.CONTINUOUS else {})
        except self.module.InputError as error:
            raise SolveError(str(error)) from None
        attributes = self._attributes(parameters or {}, {**self.module.OPTIONS, **options, **single}, seed)
        return to_dataset(self.module, arrays, attributes | {"wall_time": elapsed()})

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

    def _check_covariance_options(self, options: dict) -> None:
        """What cannot be right is said before anything is computed."""
        try:
            self.module._check_options(*(options[k] for k in ("steps", "dt", "measure", "points", "seed", "accuracy")))
        except self.module.InputError as error:
            raise SolveError(f"covariances: {error}") from None

    def _fluctuations(self, parameters, data, options: dict) -> dict:
        """The covariances, or the reason why there are none: what was solved before is not lost."""
        try:
            return self.module.fluctuations(parameters, data, **options)
        except self.module.InputError as error:
            return {"cov_status": np.array(f"refused: {error}")}
