"""``python -m timediff.evaluate``: the command of `timediff.cli.evaluate`."""

import sys

from timediff.cli.base import read_by
from timediff.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(read_by(main))
