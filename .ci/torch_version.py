"""Puts another version of torch into constraints.txt: a number, or "newest" for what the bounds allow."""

import re
import sys
from pathlib import Path

file = Path(__file__).resolve().parents[1] / "constraints.txt"
(version,) = sys.argv[1:]
line = "" if version == "newest" else f"torch=={version}\n"
text, count = re.subn(r"^torch==.*\n", line, file.read_text(), flags=re.MULTILINE)
assert count == 1, "constraints.txt has no line of torch"
file.write_text(text)
