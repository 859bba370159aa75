"""Installs each wheel and sdist of a folder in a new environment, and forecasts a CSV from an empty folder.

    python .ci/try_dist.py dist

What the distribution depends on is taken from the environment that this runs in, so that nothing but the
distribution itself is installed; the checkout is out of reach.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

TABLE = Path(__file__).resolve().parents[1] / "datasets" / "example" / "homes.csv"
FORECAST = (
    "forecast homes.csv --horizon 24 --out out.parquet --train.steps 2 --num-samples 10 --quiet"
)


def try_one(file: Path, folder: Path) -> None:
    """Fails where a distribution does not forecast."""
    home, work = folder / "venv", folder / "work"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    # a path that a .pth file adds has its own .pth files left alone: the editable checkout is not among them
    others = Path(site.strip()) / "others.pth"
    others.write_text(sysconfig.get_path("purelib") + "\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--force-reinstall",
    ]
    subprocess.run([*pip, file.resolve()], check=True, env=environment)
    work.mkdir()
    shutil.copy(TABLE, work)
    where = [python, "-c", "import timediff; print(timediff.__file__)"]
    found = Path(subprocess.check_output(where, cwd=work, text=True, env=environment).strip())
    assert found.is_relative_to(home), f"{file.name}: timediff is that of {found}"
    command = python.with_name("timediff")
    subprocess.run([command, *FORECAST.split()], check=True, cwd=work, env=environment)
    assert (work / "out.parquet").stat().st_size > 0
    subprocess.run(
        [command, "datasets"], check=True, cwd=work, env=environment, stdout=subprocess.DEVNULL
    )
    print(f"{file.name} forecasts outside the checkout")


def main() -> None:
    (folder,) = map(Path, sys.argv[1:])
    files = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    assert len(files) == 2, f"{folder} holds {[file.name for file in files]}"
    for file in files:
        with tempfile.TemporaryDirectory() as place:
            try_one(file, Path(place))


if __name__ == "__main__":
    main()
