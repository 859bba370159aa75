"""Who may import whom, and what an import pulls in."""

import ast
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry

import timediff

PACKAGE = Path(timediff.__file__).parent

# A folder, or a file beside the folders, imports only from rows above its own.
ROWS = [
    "kinds",
    "errors",
    "options",
    "registry",
    "reading",
    "fields",
    "config",
    "presets",
    "tools",
    "checks frequency",
    "arguments",
    "diffusion",
    "networks",
    "timegrad",
    "data metrics training",
    "gluon",
    "exported",  # writes what the gluon predictor is; its runner shares the units of timegrad
    "baselines",
    "benchmark",
    "report",
    "forecaster",
    "serving sharing",
    "adapters cli",
    "__init__ __main__ evaluate datasets",
]
FLOOR = {name: row for row, names in enumerate(ROWS) for name in names.split()}
#: Packages that only some folders may import.
RESERVED = {
    "torch": "tools diffusion networks timegrad training gluon exported baselines benchmark cli",
    "gluonts": "gluon baselines benchmark forecaster",
    "lightning": "training",
    "matplotlib": "report",
    "narwhals": "data forecaster",
    "plotly": "report",
    "pandas": "frequency data gluon baselines benchmark report forecaster adapters serving cli",
    "sktime": "adapters",
    "skpro": "adapters",
    "darts": "adapters",
    "fastapi": "serving",
    "huggingface_hub": "sharing",
}


def modules():
    """Every file of the package and the modules that it imports anywhere in it."""
    for file in sorted(PACKAGE.rglob("*.py")):
        names = []
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} has a relative import"
                module = str(node.module)
                names += [f"{module}.{alias.name}" for alias in node.names]
        yield file.relative_to(PACKAGE), names


def place(path):
    """The folder of a file, or its own name."""
    return path.parts[0].removesuffix(".py")


FILES = dict(modules())


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_to_lower_floors(file):
    for name in FILES[file]:
        first, *rest = name.split(".")
        if first == "timediff" and rest and rest[0] in FLOOR and rest[0] != place(file):
            assert FLOOR[rest[0]] < FLOOR[place(file)], f"{file} imports {name}"


@pytest.mark.parametrize("package", RESERVED)
def test_packages_stay_on_their_floors(package):
    users = {
        place(file) for file, names in FILES.items() if package in {n.split(".")[0] for n in names}
    }
    assert users <= set(RESERVED[package].split())


def test_every_place_has_a_floor():
    assert {place(file) for file in FILES} == set(FLOOR)


def test_no_file_is_long():
    lengths = {str(file): len((PACKAGE / file).read_text().splitlines()) for file in FILES}
    assert {name: count for name, count in lengths.items() if count > 340} == {}


def loaded_after(code):
    """Top-level packages in memory after some code in a fresh interpreter."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


def all_of(*folders):
    """Code that imports every module of some folders."""
    files = [file for file in FILES if place(file) in folders]
    names = [
        ".".join(("timediff", *file.with_suffix("").parts)).removesuffix(".__init__")
        for file in files
    ]
    assert names
    return "\n".join(f"import {name}" for name in names)


HEAVY = {"torch", "numpy", "pandas", "scipy", "gluonts", "lightning", "matplotlib", "pyarrow"}


@pytest.mark.parametrize(
    ("folders", "allowed"),
    [
        (["errors", "config", "presets", "checks"], set()),
        (["diffusion"], {"torch", "numpy"}),
        (["networks", "timegrad"], {"torch", "numpy"}),
        (["data"], {"numpy", "pandas", "pyarrow", "scipy"}),
        (["metrics"], {"numpy", "scipy", "pandas"}),
    ],
    ids=lambda value: " ".join(sorted(value)),
)
def test_folders_load_no_more_than_they_need(folders, allowed):
    assert loaded_after(all_of(*folders)) & HEAVY <= allowed


def test_baselines_are_chosen_without_torch():
    code = "from timediff.baselines import chosen; chosen('fast')"
    assert not loaded_after(code) & {"torch", "gluonts", "lightning", "statsforecast"}


def test_the_package_itself_loads_nothing():
    assert not loaded_after("import timediff") & HEAVY


@pytest.mark.parametrize("command", ["evaluate", "compare", "distill", "export", "datasets"])
def test_help_does_not_wait_for_torch(command):
    call = f"from timediff.cli.main import main\ntry:\n    main([{command!r}, '--help'])\n"
    assert not loaded_after(call + "except SystemExit: pass") & {"torch", "gluonts", "lightning"}


def test_scripts_and_notebooks_use_public_names_only():
    root = PACKAGE.parent
    for file in [*root.glob("evaluation/**/*.py"), *root.glob("notebooks/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("timediff"):
                assert not any(alias.name.startswith("_") for alias in node.names), file


def defined_in(tree):
    """Public names that a module defines."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (part.id for part in getattr(target, "elts", [target]))


@pytest.mark.parametrize("file", [file for file in FILES if file.name[0] != "_"], ids=str)
def test_every_module_names_what_is_public_in_it(file):
    tree = ast.parse((PACKAGE / file).read_text())
    public = {name for name in defined_in(tree) if not name.startswith("_")}
    if not public:
        return  # a door
    (named,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert set(named) == public and len(named) == len(public)


def test_no_exported_name_is_a_module():
    assert set(timediff.__all__).isdisjoint({path.stem for path in PACKAGE.iterdir()})


@pytest.mark.parametrize("name", timediff.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(timediff, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        timediff.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "line",
    [
        ["evaluate", "--dataset", "example"],
        ["forecast", "datasets/example/homes.csv", "--horizon", "2"],
        ["train", "datasets/example/homes.csv", "--horizon", "2", "--out", "model"],
        ["predict", "model"],
        ["distill", "model", "--dataset", "example", "--out", "student"],
        ["export", "model", "out"],
    ],
    ids=lambda line: line[0],
)
def test_commands_have_waiting_threads_sleep_before_torch_reads_how(line):
    # The first file that work opens, and the module that OpenMP comes with.
    code = (
        "import os, sys\nfrom timediff.cli import base, distill, export, said\n"
        "os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "run = base.run_command\n"
        "def watched(program, work, **options):\n"
        "    def look():\n"
        "        assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE' and 'torch' not in sys.modules\n"
        "        print('looked')\n"
        "    return run(program, look, **options)\n"
        "said.run_command = distill.run_command = export.run_command = watched\n"
        f"from timediff.cli.main import main\nmain({line!r})\n"
    )
    assert "looked" in loaded_after(code)


def test_a_wait_policy_that_is_given_stays():
    code = (
        "import os\nos.environ['OMP_WAIT_POLICY'] = 'ACTIVE'\n"
        "from timediff.cli.base import run_command\n"
        "run_command('timediff', lambda: print(os.environ['OMP_WAIT_POLICY']))\n"
    )
    assert "ACTIVE" in loaded_after(code)


@QUIET
def test_timediff_predict_loads_neither_training_nor_pictures(tmp_path):
    stamps = pd.date_range("2024-01-01", periods=60, freq="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": entry(1)["target"][0]})
    model = MODEL._replace(scaling="adaptive")
    kept = timediff.Forecaster(model, TRAIN._replace(steps=1), progress=False).fit(frame, h=HORIZON)
    kept.save(tmp_path / "model")
    line = ["predict", str(tmp_path / "model"), "--out", str(tmp_path / "f.csv"), "--quiet"]
    code = (
        f"from timediff.cli.main import main\nassert main({line!r}) == 0\n"
        "import sys; print(*{'.'.join(name.split('.')[:2]) for name in sys.modules})"
    )
    loaded = loaded_after(code)
    assert (tmp_path / "f.csv").is_file() and "gluonts.model" in loaded
    heavy = {"lightning", "matplotlib", "scipy", "sympy", "gluonts.torch", "torch._dynamo"}
    assert not loaded & (heavy | {"timediff.training"})
