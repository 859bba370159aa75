"""The notebooks run from top to bottom, and their executed copies are those of their sources."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from processes import run_python

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SOURCES = sorted(path for path in NOTEBOOKS.glob("*.py") if path.name != "execute.py")
LIMIT = 1_000_000  # bytes
MAKES_A_PICTURE = re.compile(r"^(show\(|save_figure\(|\w+\.savefig\()", re.MULTILINE)

each = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


@each
def test_notebook_runs(path, tmp_path):
    done = run_python(
        path, tmp_path, TIMEDIFF_NOTEBOOK_STEPS="3", TIMEDIFF_NOTEBOOK_OUT=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.rglob("*.png"))


@each
def test_executed_copy_is_that_of_the_source(path):
    source, copy = jupytext.read(path, fmt="py:percent"), read_copy(path)
    cells = [[(cell.cell_type, cell.source) for cell in one.cells] for one in (source, copy)]
    assert cells[0] == cells[1], (
        f"{path.stem}.ipynb is stale: python notebooks/execute.py {path.stem}"
    )


@each
def test_executed_copy_was_run_in_order_and_shows_its_pictures(path):
    assert path.with_suffix(".ipynb").stat().st_size < LIMIT
    code = [cell for cell in read_copy(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    with_picture = [cell for cell in code if MAKES_A_PICTURE.search(cell.source)]
    assert with_picture
    for cell in with_picture:
        pictures = [out for out in cell.outputs if "image/png" in out.get("data", {})]
        assert pictures, f"no picture below\n{cell.source}"


def test_every_copy_has_a_source():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {path.stem for path in SOURCES}


def read_copy(path):
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)
