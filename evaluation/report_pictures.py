"""Pictures of docs/report.md: a report on a desk and on a phone, and a page to look about in, by a browser.

    python evaluation/report_pictures.py [--run runs/citylearn2022-default] [--homes forecast.html]

The folder is one that `timediff evaluate` has written, the page one of `timediff forecast --plot`; what is
not there is made first, which takes minutes. Chromium has to be on the PATH.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
#: Pixels that a picture shows, and what is drawn beside a phone, as windows are no narrower than 500.
DESK, PHONE, NARROWEST = (1280, 1560), (390, 1200), 500
FRAME = "<style>* {{ margin: 0; border: 0 }}</style><iframe src='{page}' width='{0}' height='{1}'>"


def picture(page: Path, out: Path, size: tuple[int, int]) -> None:
    """The top of a page as PNG, of a width that windows may not have."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("there is no chromium on the PATH")
    with tempfile.TemporaryDirectory() as profile:
        frame = Path(profile) / "frame.html"
        frame.write_text(FRAME.format(*size, page=page.resolve().as_uri()))
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                f"--user-data-dir={profile}/profile", "--hide-scrollbars",
                f"--window-size={max(size[0], NARROWEST)},{size[1]}",
                "--virtual-time-budget=8000", f"--screenshot={out.resolve()}", frame.as_uri(),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
    with Image.open(out) as whole:
        cut = whole.convert("RGB").crop((0, 0, *size))
    cut.quantize(128).save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/citylearn2022-default"))
    parser.add_argument("--homes", type=Path, default=Path("runs/homes.html"))
    args = parser.parse_args()
    timediff = [sys.executable, "-m", "timediff"]
    if not (args.run / "report.html").is_file():
        config = HERE / "configs" / "citylearn2022-default.yaml"
        command = ["evaluate", "--config", config, "--seed", "1", "--out", args.run]
        subprocess.run([*timediff, *command], check=True)
    if not args.homes.is_file():
        table, out = HERE.parent / "datasets/example/homes.csv", args.homes.with_suffix(".csv")
        command = ["forecast", table, "--horizon", "24", "--plot", args.homes, "--out", out]
        subprocess.run([*timediff, *command], check=True)
    picture(args.run / "report.html", DOCS / "report.png", DESK)
    picture(args.run / "report.html", DOCS / "report_phone.png", PHONE)
    picture(args.homes, DOCS / "series.png", (DESK[0], 960))


if __name__ == "__main__":
    main()
