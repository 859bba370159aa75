"""Every exchangeable part of the library by kind and name: its table of contents.

A table such as `SAMPLERS` maps names to parts, which are imported when they are first asked for, so that
reading names costs nothing. `register` adds parts of a user's own: they train, evaluate, can be chosen on the
command line (``--plugin MODULE``, a module that registers them), and come back with a saved predictor once
they are registered again.

What each kind is: ``docs/parts.md``.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from timediff.errors import InputError
from timediff.kinds import shown
from timediff.options import Option, options_in_source, options_of

__all__ = [
    "BASELINES",
    "COMMANDS",
    "LOSSES",
    "METRICS",
    "NETWORKS",
    "NOISES",
    "NORMALISATIONS",
    "PARAMETERISATIONS",
    "SAMPLERS",
    "SCHEDULES",
    "SPACINGS",
    "TABLES",
    "WEIGHTINGS",
    "Part",
    "Table",
    "import_plugin",
    "register",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


class Part(NamedTuple):
    """An entry of a table.

    Args:
        target: The part itself, or where it is: "module:object".
        version: Number that its author raises when it begins to do something else.
        summary: What it is, in a few words.
        registered_by: The module that registered it; empty for the library's own.
        slow: Whether a baseline of the library takes minutes.
    """

    target: Any
    version: int = 1
    summary: str = ""
    registered_by: str = ""
    slow: bool = False

    @property
    def built_in(self) -> bool:
        """Whether it comes with the library."""
        return not self.registered_by

    @property
    def module(self) -> str:
        """The module that it comes from."""
        return self.registered_by or self.target.partition(":")[0]


class Table(Mapping[str, Any]):
    """The parts of one kind by name, in the order in which they were registered.

    Args:
        kind: What they are, in the singular.
        parts: Where the library's own are, by name.
        source: Where a dictionary of them is, "module:object", if they all are in one.
    """

    def __init__(
        self, kind: str, parts: Mapping[str, str | Part] | None = None, *, source: str = ""
    ) -> None:
        self.kind = kind
        self._parts = {n: p if isinstance(p, Part) else Part(p) for n, p in (parts or {}).items()}
        self._source = source
        self._loaded: dict[str, Any] = {}

    @property
    def parts(self) -> dict[str, Part]:
        """Entries by name."""
        if self._source:
            source, self._source = self._source, ""
            objects = _imported(source)
            self._parts = {name: Part(source) for name in objects} | self._parts
            self._loaded |= objects
        return self._parts

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            if name not in self.parts:
                raise KeyError(name)
            target = self.parts[name].target
            self._loaded.setdefault(name, _imported(target) if isinstance(target, str) else target)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def add(self, name: str, part: Part) -> None:
        """Adds a user's part, or a new version of it, see `register`."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name of a {self.kind}; begin with a letter or digit, and go on with "
                "letters, digits, _ . + or -"
            )
        previous = self.parts.get(name)
        if previous is not None and previous.built_in:
            raise InputError(f"the {self.kind} {name!r} is timediff's own; choose another name")
        if (
            previous is not None
            and part.version <= previous.version
            and _place(previous) != _place(part)
        ):
            raise InputError(
                f"the {self.kind} {name!r} is registered already, by the module {previous.module}; choose "
                f"another name, or a version above {previous.version}"
            )
        self.parts[name] = part
        self._loaded.pop(name, None)

    def remove(self, name: str) -> None:
        """Takes out a user's part."""
        if self.parts[name].built_in:
            raise InputError(f"the {self.kind} {name!r} is timediff's own and stays")
        del self.parts[name]
        self._loaded.pop(name, None)

    def check(self, name: Any, *, option: str = "") -> None:
        """Raises `InputError` unless this is the name of a part."""
        if not isinstance(name, str) or name not in self.parts:
            raise InputError(
                f"{option or self.kind} is {shown(name)}; it must be one of {', '.join(self.parts)}"
            )

    def options(self, name: str) -> dict[str, Option]:
        """The keyword-only arguments of a part by name, read from its signature.

        Those of the library's own parts are read from the source, which needs no import of torch.
        """
        target = self.parts[name].target
        if isinstance(target, str) and name not in self._loaded:
            return dict(options_in_source(target))
        return options_of(self[name])


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _place(part: Part) -> tuple[str, str]:
    return part.module, getattr(part.target, "__qualname__", type(part.target).__qualname__)


SCHEDULES = Table(
    "schedule",
    {
        "linear": "timediff.diffusion.schedule:linear",
        "quadratic": "timediff.diffusion.schedule:quadratic",
        "constant": "timediff.diffusion.schedule:constant",
        "cosine": "timediff.diffusion.schedule:cosine",
        "sigmoid": "timediff.diffusion.schedule:sigmoid",
        "jsd": "timediff.diffusion.schedule:jsd",
        "vp": "timediff.diffusion.schedule:vp",
        "sub-vp": "timediff.diffusion.schedule:sub_vp",
        "ve": "timediff.diffusion.schedule:ve",
        "learned": "timediff.diffusion.learned_schedule:start",
    },
)
SAMPLERS = Table(
    "sampler",
    {
        "ancestral": "timediff.diffusion.samplers.ancestral:ancestral",
        "adams-bashforth": "timediff.diffusion.samplers.adams_bashforth:adams_bashforth",
        "ddim": "timediff.diffusion.samplers.ddim:ddim",
        "dpm++": "timediff.diffusion.samplers.dpm_solver:dpm_solver",
        "sde-dpm++": "timediff.diffusion.samplers.dpm_solver:sde_dpm_solver",
        "heun": "timediff.diffusion.samplers.heun:heun",
        "langevin": "timediff.diffusion.samplers.langevin:langevin",
        "predictor-corrector": "timediff.diffusion.samplers.predictor_corrector:predictor_corrector",
    },
)
SPACINGS = Table(
    "spacing",
    {
        "uniform": "timediff.diffusion.spacing:uniform",
        "quadratic": "timediff.diffusion.spacing:quadratic_steps",
        "log-snr": "timediff.diffusion.spacing:uniform_log_snr",
        "angle": "timediff.diffusion.spacing:uniform_angle",
    },
)
PARAMETERISATIONS = Table(
    "parameterisation",
    {
        "noise": "timediff.diffusion.parameterisation:NOISE",
        "x0": "timediff.diffusion.parameterisation:CLEAN",
        "v": "timediff.diffusion.parameterisation:VELOCITY",
        "score": "timediff.diffusion.parameterisation:SCORE",
    },
)
WEIGHTINGS = Table(
    "weighting",
    {
        name: f"timediff.diffusion.objective:{name.replace('-', '_')}_weight"
        for name in ("noise", "x0", "v", "score", "min-snr", "bound")
    },
)
LOSSES = Table(
    "loss", {name: f"timediff.diffusion.objective:{name}" for name in ("l1", "l2", "huber")}
)
NETWORKS = Table(
    "network",
    {
        "conv": "timediff.networks.convolution:ConvDenoiser",
        "mlp": "timediff.networks.mlp:MlpDenoiser",
        "attention": "timediff.networks.attention:AttentionDenoiser",
    },
)
NORMALISATIONS = Table(
    "normalisation",
    {
        "adaptive": "timediff.timegrad.normalisation.adaptive:in_window",
        "mean": "timediff.timegrad.normalisation.mean:mean_scale",
        "std": "timediff.timegrad.normalisation.std:std_scale",
        "global": "timediff.timegrad.normalisation.training:global_scale",
        "none": "timediff.timegrad.normalisation.none:no_scale",
    },
)
NOISES = Table(
    "noise",
    {
        "independent": "timediff.timegrad.noise:independent",
        "antithetic": "timediff.timegrad.noise:antithetic",
        "stratified": "timediff.timegrad.noise:stratified",
    },
)
BASELINES = Table(
    "baseline",
    {
        "random_walk": "timediff.baselines.naive:RANDOM_WALK",
        "random_walk_recent": "timediff.baselines.naive:RANDOM_WALK_RECENT",
        "seasonal_naive": "timediff.baselines.naive:SEASONAL_NAIVE",
        "seasonal_naive_recent": "timediff.baselines.naive:SEASONAL_NAIVE_RECENT",
        "climatology": "timediff.baselines.climatology:CLIMATOLOGY",
        "var": "timediff.baselines.var:VAR",
        "adaptive_linear": "timediff.baselines.adaptive_linear:ADAPTIVE_LINEAR",
        "auto_ets": Part("timediff.baselines.classical:AUTO_ETS", slow=True),
        "auto_arima": Part("timediff.baselines.classical:AUTO_ARIMA", slow=True),
        "fracast": Part("timediff.baselines.foundation:FRACAST", slow=True),
        "deepar": Part("timediff.baselines.deep:DEEPAR", slow=True),
        "deepar_copula": Part("timediff.baselines.deep:DEEPAR_COPULA", slow=True),
        "patchtst": Part("timediff.baselines.deep:PATCHTST", slow=True),
        "patchtst_copula": Part("timediff.baselines.deep:PATCHTST_COPULA", slow=True),
        "energy": Part("timediff.baselines.energy:ENERGY", slow=True),
    },
)
METRICS = Table("metric", source="timediff.metrics.rows:SCORES")
COMMANDS = Table(
    "command",
    {
        name: Part(f"timediff.cli.{name}:main", summary=summary)
        for name, summary in {
            "forecast": "train on a table, forecast what follows it",
            "predict": "forecast with a saved model",
            "train": "train a model, or go on from one",
            "check": "say what is in a table",
            "verify": "score a forecast when its truth is there",
            "evaluate": "train, forecast, score; write record and report",
            "compare": "put records side by side",
            "serve": "answer requests for forecasts with a saved model",
            "distill": "make a predictor that needs few network calls",
            "export": "write a model as ONNX, to be run without torch",
            "datasets": "list datasets",
        }.items()
    },
)

#: All tables by kind.
TABLES: dict[str, Table] = {
    table.kind: table
    for table in (
        *(SCHEDULES, SAMPLERS, SPACINGS, PARAMETERISATIONS, WEIGHTINGS, LOSSES, NETWORKS),
        *(NORMALISATIONS, NOISES, BASELINES, METRICS, COMMANDS),
    )
}


def register(kind: str, name: str, part: Any, *, version: int = 1, summary: str = "") -> None:
    """Adds a part of a user's own.

    Registering the same object again is no mistake, so that a cell of a notebook can be run twice.

    Args:
        kind: One of `TABLES`, such as "sampler".
        name: What it is chosen by.
        part: The part itself, as ``docs/parts.md`` describes its kind.
        version: To be raised when the part begins to do something else: saved predictors name it, and are
            refused with another.
        summary: What it is, in a few words.

    Raises:
        InputError: There is no such kind, or the name is taken.
    """
    if kind not in TABLES:
        raise InputError(f"there are no parts of kind {kind!r}; choose one of {', '.join(TABLES)}")
    if not callable(part) and not isinstance(part, tuple):
        raise InputError(f"the {kind} {name!r} is a {type(part).__name__}; give the part itself")
    registered_by = sys._getframe(1).f_globals.get("__name__", "?")
    TABLES[kind].add(name, Part(part, version, summary, registered_by))


def import_plugin(module: str) -> None:
    """Imports a module that registers parts.

    Raises:
        InputError: It is not there, or fails.
    """
    try:
        import_module(module)
    except InputError:
        raise
    except Exception as error:  # a user's module may fail in any way
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(
            f"the plugin {module} cannot be imported ({reason}); give a module on the Python path"
        ) from error
