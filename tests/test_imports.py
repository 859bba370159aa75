"""Who may import whom, and what an import pulls in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import timediff

PACKAGE = Path(timediff.__file__).parent
#: Modules, and packages as one module each, with the files they consist of.
FILES = {path.stem: [path] for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
FILES |= {
    path.parent.name: sorted(path.parent.glob("*.py")) for path in PACKAGE.glob("*/__init__.py")
}
MODULES = sorted(FILES)

# A module imports only from rows above its own: first the method, then data, scores and the commands.
METHOD = [
    "errors",
    "seeding",
    "precision",
    "schedule",
    "parameterisation",
    "spacing",
    "diffusion",
    "exponential",
    "samplers",
    "bound",
    "likelihood",
    "views",
    "particles",
    "distillation",
    "step_sampling",
    "learned_schedule",
    "denoiser",
    "convolution",
    "attention",
    "scaling",
    "encoder",
    "frequency",
    "config",
    "checks",
    "batch",
    "noise",
    "workers",
    "conditional",
    "chains",
    "model",
    "density",
    "whatif",
]
LAYERS = [
    *METHOD,
    *("progress", "terminal", "files"),
    *("windows", "budget", "lightning", "predictor", "estimator", "student"),
    *("specs", "folders", "switching", "oracle", "frames"),
    *("download", "tables", "lookup", "audit", "datasets", "rolling"),
    *("metrics", "protocols", "comparison", "backtest", "reordering", "recalibration"),
    *("baselines", "plots", "record", "outputs", "scoring", "rivals", "seeds"),
    *("report", "summary", "experiment", "evaluate", "distill", "compare", "cli", "__main__"),
]


def imported(module):
    """The timediff modules that a module imports anywhere in it, also inside functions."""
    found = set()
    trees = [ast.parse(file.read_text()) for file in FILES[module]]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        parts = [name.split(".") for name in names if name.startswith("timediff.")]
        found |= {part[1] for part in parts if part[1] in MODULES}
    return found - {module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_upwards(module):
    assert module in LAYERS, f"give {module} its row in LAYERS"
    above = LAYERS[: LAYERS.index(module)]
    assert imported(module) <= set(above)


@pytest.mark.parametrize("command", ["evaluate", "distill"])
def test_nothing_imports_the_command(command):
    assert [module for module in MODULES if command in imported(module)] == []


def loaded_after(*modules):
    """Top-level packages in memory after importing these modules in a fresh interpreter."""
    code = "".join(f"import timediff.{module}\n" for module in modules)
    code += "import sys, timediff; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


def test_method_needs_neither_gluonts_nor_lightning():
    loaded = loaded_after(*METHOD, "windows")
    assert "torch" in loaded
    assert not loaded & {"gluonts", "lightning", "pytorch_lightning"}


@pytest.mark.parametrize(
    "modules",
    [["errors", "config", "frequency"], ["metrics"], ["distill"], ["report", "compare", "cli"]],
    ids=" ".join,
)
def test_light_modules_do_not_wait_for_torch(modules):
    assert not loaded_after(*modules) & {"torch", "gluonts", "lightning"}


def test_config_imports_no_other_package():
    assert not loaded_after("config") & {"torch", "numpy", "pandas"}


def test_no_exported_name_is_a_module():
    assert set(timediff.__all__).isdisjoint({path.stem for path in PACKAGE.iterdir()})


@pytest.mark.parametrize("name", timediff.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(timediff, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        timediff.no_such_name  # noqa: B018
