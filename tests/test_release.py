"""What a release is made of: distributions that work elsewhere, versions that agree, bounds that hold."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

from groups import contracts

import timediff

ROOT = Path(__file__).resolve().parents[1]


@contracts
def test_wheel_and_sdist_forecast_outside_the_checkout(tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    tried = [sys.executable, str(ROOT / ".ci" / "try_dist.py"), str(tmp_path)]
    done = subprocess.run(tried, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("forecasts outside the checkout") == 2


@contracts
def test_pandas_3_is_kept_out_by_gluonts_alone():
    """Where this fails, GluonTS takes pandas 3: lift the bound in pyproject.toml, and try."""
    (ours,) = re.findall(
        r'^    "(pandas[<>=][^"]*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    bounds = [line for line in requires("gluonts") or [] if re.match(r"pandas\b", line)]
    assert "<3" in ours and any("<3" in line for line in bounds), (ours, bounds)


@contracts
def test_the_changelog_has_the_version():
    (newest,) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[:1]
    assert timediff.__version__.split(".dev")[0] == newest


@contracts
def test_workflows_run_the_scripts_of_the_checkout():
    rules = (ROOT / "Makefile").read_text()
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        for target in re.findall(r"make (\w+)", file.read_text()):
            assert re.search(rf"^{target}:", rules, re.MULTILINE), (file.name, target)
        for script in re.findall(r"\.ci/[\w.]+", file.read_text()):
            assert (ROOT / script).exists(), (file.name, script)
