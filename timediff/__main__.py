"""``python -m timediff COMMAND``."""

import sys

from timediff.cli.main import main

sys.exit(main())
