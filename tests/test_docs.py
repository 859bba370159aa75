"""The documents' examples run, and their links lead somewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import QUIET

from timediff.registry import TABLES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def run_blocks(page, *, fewest):
    """Runs all blocks of a page from top to bottom, with hardly any training."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)
    assert len(blocks) > fewest
    names: dict[str, object] = {"__name__": "a_page"}
    for block in blocks:
        quick = re.sub(r"\bsteps=20+", "steps=2", block)
        exec(compile(quick, page, "exec"), names)


@pytest.mark.usefixtures("clean_tables")
def test_the_page_of_parts_runs_from_top_to_bottom(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_blocks("parts.md", fewest=10)
    assert float(capsys.readouterr().out) > 0


@QUIET
def test_the_page_of_the_forecaster_runs_from_top_to_bottom(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_blocks("forecaster.md", fewest=14)
    printed = capsys.readouterr().out
    assert "\n2\n" in printed and "'cutoff'" in printed
    assert {path.name for path in tmp_path.iterdir()} >= {"forecast.png", "scenarios.png", "model"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_page_of_covariates_runs_from_top_to_bottom(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "covariates.md").read_text()
    names: dict[str, object] = {"__name__": "a_page"}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block.replace("steps=20", "steps=2"), "covariates.md", "exec"), names)
    assert capsys.readouterr().out.startswith("[")


def test_the_forecaster_of_the_benchmark_page_takes_part(tmp_path):
    """As the page says: a file with the block, and the command beside it, with hardly any training."""
    text = (ROOT / "docs" / "benchmark.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (command,) = re.findall(r"^timediff (evaluate .*)$", text, flags=re.MULTILINE)
    (tmp_path / "mine.py").write_text(code)
    quick = command.replace("--windows 30", "--windows 2").replace("--seed 1 2 3", "--seed 1")
    options = [*quick.split(), *"--train.steps 2 --num-samples 5 --quiet --no-report".split()]
    done = subprocess.run(
        [sys.executable, "-m", "timediff", *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs/citylearn2022-rolling/record.json").read_text())
    assert record["entrants"]["last_days"]["metrics"]["crps_peak"] > 0


def test_the_table_of_covariates_is_that_of_the_record():
    results = json.loads((ROOT / "evaluation" / "results" / "covariates.json").read_text())[
        "results"
    ]
    text = (ROOT / "docs" / "covariates.md").read_text()
    rows = [
        f"| {study} | {group} | {row['windows']} | {row['ratio']['mean']:.3f} |"
        for study, groups in results.items()
        for group, row in groups.items()
    ]
    assert len(rows) > 5 and "\n".join(rows) in text


def test_reasons_of_covariates_are_those_of_the_record():
    record = json.loads((ROOT / "evaluation" / "results" / "covariates.json").read_text())
    text = " ".join((ROOT / "docs" / "covariates.md").read_text().split())

    def short(value):
        return f"{value:.2f}".replace("0.", ".", 1)

    for study, name in (("holidays", "before"), ("holidays", "after")):
        days = record["effects"][study][f"holidays {name}"]
        assert f"by {short(days['mean'])} ± {short(days['se'])}" in text
    for name in ("before", "after"):
        days = record["effects"]["holidays, traffic"][f"holidays {name}"]
        assert f"{short(days['mean'])} ± {short(days['se'])} {name}" in text
    assert f"spread, {short(record['effects']['holidays']['holidays after']['spread'])}," in text
    assert f"of other days, {short(record['effects']['holidays']['other days']['spread'])}," in text
    largest = max(abs(each["largest"]) for each in record["weather"].values())
    assert largest < 0.25 and "more than .25" in text
    for kind, value in (("direct", ".02"), ("diffuse", "-.02")):
        unshifted = record["weather"][f"{kind}_solar_irradiance"]["unshifted"]
        assert short(unshifted) == value and f"{value} with those of {kind}" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = page.read_text()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    files = [target.partition("#")[0] for target in targets if not target.startswith("http")]
    assert [file for file in files if file and not (page.parent / file).exists()] == []
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    inside = {target[1:] for target in targets if target.startswith("#")}
    assert inside <= headings


def test_every_kind_of_part_has_a_section():
    text = (ROOT / "docs" / "parts.md").read_text().lower()
    assert [kind for kind in TABLES if f"\n## {kind}\n" not in text] == []
