"""``python -m timediff.datasets``: the command of `timediff.cli.datasets`."""

import sys

from timediff.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["datasets", *sys.argv[1:]]))
