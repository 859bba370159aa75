"""What the commands share: a mistake is answered in one line, tables have straight columns."""

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are answered by `fail`, not by the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Stops with status 2."""
        fail(self.prog, message)


def fail(program: str, message: str, *, hint: str = " See --help.") -> NoReturn:
    """Says what is wrong in one sentence and stops with status 2."""
    print(f"{program}: {message.rstrip('.')}.{hint}", file=sys.stderr)
    raise SystemExit(2)
