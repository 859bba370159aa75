"""The examples of docs/adapters.md that need another library run where it is installed."""

import re
from pathlib import Path

import pytest
from tiny import QUIET

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adapters.md"
BLOCK = re.compile(r"```(python|py)\n(.*?)```", re.DOTALL)


@QUIET
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.contracts
@pytest.mark.parametrize(("library", "name"), [("sktime", "paths"), ("darts", "samples")])
def test_examples_of_other_libraries_run(library, name, monkeypatch, tmp_path):
    pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text())
    first = next(code for fence, code in blocks if fence == "python")
    (own,) = [code for fence, code in blocks if fence == "py" and f"adapters.{library}" in code]
    names: dict[str, object] = {"__name__": "a_page"}
    for code in (first, own):
        quick = code.replace("steps=200", "steps=2").replace('"steps": 200', '"steps": 2')
        exec(compile(quick, "adapters.md", "exec"), names)
    assert names[name] is not None
    if library == "sktime":
        assert len(names["peaks"]) == 50
    else:
        assert len(names["past"]) == 3 and names["total"].n_samples == 100
