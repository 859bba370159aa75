"""Make the executed copies of the notebooks: ``python notebooks/execute.py [NAME ...]``.

Each source in percent format, ``NAME.py``, is run from the top in a kernel of its own and kept with
what it showed as ``NAME.ipynb``. It needs the extra ``notebooks``. The options are the environment
variables of the sources: ``TIMEDIFF_NOTEBOOK_STEPS`` is the number of optimiser steps, and its default
is what the committed copies were made with.
"""

import base64
import io
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
LIMIT = 1_000_000  # bytes of a copy; a repository keeps every one of them for good


def sources() -> list[Path]:
    """Every notebook in percent format: the files of this folder, except this one."""
    return sorted(path for path in FOLDER.glob("*.py") if path.name != "execute.py")


def execute(source: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs. Progress bars and warnings (stderr) are not kept."""
    notebook = jupytext.read(source, fmt="py:percent")
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.NotebookNode(kernelspec=spec)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same in the next copy
    folder = {"metadata": {"path": str(FOLDER.parent)}}
    NotebookClient(notebook, timeout=None, resources=folder, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for data in (out["data"] for out in cell.outputs if "data" in out):
                if "image/png" in data:
                    data["image/png"] = smaller(data["image/png"])
    return notebook


def smaller(picture: str) -> str:
    """A PNG in base64 with 128 colours, a quarter of its size."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    file = io.BytesIO()
    image.quantize(128, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main(names: list[str]) -> None:
    known = [source.stem for source in sources()]
    if not set(names) <= set(known):
        raise SystemExit(f"The notebooks are {', '.join(known)}, not {', '.join(names)}.")
    for source in sources():
        if names and source.stem not in names:
            continue
        text = nbformat.writes(execute(source)) + "\n"
        if len(text.encode()) > LIMIT:
            raise SystemExit(f"{source.stem}: {len(text)} bytes are more than {LIMIT}; show less")
        source.with_suffix(".ipynb").write_text(text)
        print(f"{source.with_suffix('.ipynb')}: {len(text) / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
