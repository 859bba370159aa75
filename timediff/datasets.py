"""``python -m timediff.datasets``: the command of `timediff.cli.datasets`."""

import sys

from timediff.cli.base import read_by
from timediff.cli.datasets import main

if __name__ == "__main__":
    sys.exit(read_by(main))
