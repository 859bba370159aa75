"""``python -m timediff COMMAND``."""

import sys

from timediff.cli import main

sys.exit(main())
