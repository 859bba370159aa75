"""``python -m timediff.evaluate``: the command of `timediff.cli.evaluate`."""

import sys

from timediff.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
