"""The documentation site is built without a warning, leads somewhere everywhere, and its examples run."""

import contextlib
import io
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import look_at
from tiny import QUIET

import timediff
from timediff.registry import METRICS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
#: Pages whose examples run here; `test_docs.py` has the older ones.
PAGES = (
    "adapters",
    "calibration",
    "export",
    "first_forecast",
    "pytorch_ts",
    "scenarios",
    "sharing",
    "what_if",
    "which_crps",
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("page", PAGES)
@QUIET
def test_examples_run_and_print_what_the_page_says(page, capsys, monkeypatch, tmp_path):
    for package in {"export": ("onnxscript", "onnxruntime")}.get(page, ()):
        pytest.importorskip(package, reason="exporting needs the extras 'export' and 'runner'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    names: dict[str, object] = {"__name__": "a_page"}
    blocks = BLOCK.findall((DOCS / f"{page}.md").read_text())
    assert blocks
    for block, expected in blocks:
        quick = re.sub(r"\bsteps=20+\b", "steps=2", block)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(quick, page, "exec"), names)
        if expected:
            assert printed.getvalue() == expected
    if page == "what_if":
        moved = names["moved"]
        assert moved[:6, 1] == pytest.approx(3, abs=1e-4) and (moved[:6, 0] > 1.5).all()
    if page == "scenarios":
        assert 1 <= names["cost"](names["best"][10], names["forecast"]) / names["cost"](
            names["best"][500], names["forecast"]
        )


def test_every_page_with_examples_is_run():
    # Those of serving run in tests/serving.
    older = {"benchmark", "covariates", "forecaster", "parts", "serving"}
    shown = {"several_machines"}  # needs two processes
    with_examples = {path.stem for path in DOCS.glob("*.md") if "```python" in path.read_text()}
    assert with_examples == {*PAGES, *older, *shown}


class Page(HTMLParser):
    """Links, places to link to, and what a page loads."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.loads = [], set(), []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif "src" in given or (tag == "link" and given.get("rel") != "canonical"):
            self.loads.append(given.get("src") or given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    missing = [
        name for name in ("sphinx", "furo", "myst_nb", "latex2mathml") if not find_spec(name)
    ]
    if missing:
        pytest.skip(f'{missing[0]} is not installed: the extra "docs" builds the site')
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-c", "docs", ".", out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_site_is_built_by_the_command_of_the_makefile(site):
    rule = "sphinx-build -W --keep-going -b html -c docs . build/docs"
    assert rule in (ROOT / "Makefile").read_text()
    assert "docs/index.html" in (site / "index.html").read_text()


@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_a_phone_and_a_desk(site, tmp_path, dark):
    names = ("index", "report", "theory", "which_crps", "parts")
    pages = [f"docs/{name}.html" for name in names]
    for place, look in look_at(site, pages, tmp_path, dark=dark).items():
        assert look["scroll"] <= place[1], look
        assert (sum(map(int, re.findall(r"\d+", look["paper"])[:3])) < 200) == dark, look


def test_what_readers_look_for_is_one_click_from_the_front(site):
    text = (site / "docs" / "index.html").read_text()
    for words, page in {
        "Forecast my CSV": "first_forecast",
        "Add my model": "parts",
        "What is this CRPS?": "which_crps",
    }.items():
        assert re.search(rf'href="{page}\.html"[^>]*>(<[^>]+>)*{re.escape(words)}', text)


def test_all_pages_are_reached_from_the_front(site, pages):
    front = (site / "docs" / "index.html").resolve()
    reached, ahead = set(), [front]
    while ahead:
        path = ahead.pop()
        if path in reached or path not in pages:
            continue
        reached.add(path)
        links = (link.partition("#")[0] for link in pages[path].links)
        ahead += [(path.parent / unquote(link)).resolve() for link in links if "://" not in link]
    folders = ("docs", "notebooks", "evaluation")
    ours = {path for folder in folders for path in (site / folder).rglob("*.html")}
    assert len(ours) > 30 and ours - reached == set()


def test_links_and_anchors_lead_somewhere(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", file):
                continue
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (
                anchor and target.suffix == ".html" and anchor not in pages[target].ids
            ):
                broken.append(f"{path.name} -> {link}")
    assert broken == []


def test_pages_load_nothing_from_elsewhere(pages):
    assert {load for page in pages.values() for load in page.loads if "//" in load} == set()


def test_formulas_are_drawn_by_the_browser(site):
    theory = (site / "docs" / "theory.html").read_text()
    formulas = re.findall(r"<math .*?</math>", theory, flags=re.DOTALL)
    assert len(formulas) > 50 and not [formula for formula in formulas if "\\" in formula]
    assert '<pre><span></span><span class="k">return</span>' in theory  # the lines below a formula


def inventory(site):
    """Names that the reference describes."""
    raw = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(raw.split(b"\n", 4)[4]).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


def test_reference_has_every_public_name(site):
    names = inventory(site)
    assert {f"timediff.{name}" for name in timediff.__all__} - names == set()
    for folder in ("diffusion", "metrics"):
        files = (ROOT / "timediff" / folder).rglob("*.py")
        modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
        inner = {"arrays", "sums", "rehearsal", "__init__"}  # serve the others
        shown = {module for module in modules if module.rpartition(".")[2] not in inner}
        assert shown - names == set()
    assert {
        f"timediff.Forecaster.{name}" for name in ("fit", "predict", "simulate", "save")
    } <= names


def test_scores_are_those_of_the_registry(site):
    text = (site / "docs" / "api" / "metrics.html").read_text()
    assert [name for name in METRICS if name not in text] == []


def test_modules_are_linked_to_their_reference(site):
    assert 'href="api/diffusion.html#module-' not in (site / "docs" / "parts.html").read_text()
    adaptive = (site / "docs" / "adaptive.html").read_text()
    assert 'href="api/model.html#module-timediff.timegrad.centre"' in adaptive
