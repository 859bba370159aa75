#!/usr/bin/env bash
# scikit-base 1.1.1 (sktime 1.2, skpro 2.16): cloning puts all fields of a named tuple into its first one.
#
# `clone` of skbase.base.BaseObject rebuilds a parameter that is a tuple as type(value)([...]), which a NamedTuple
# takes as its first field: Options(width=32, rate=0.5) comes back as Options(width=[32, 0.5], rate=0.1), the
# other fields at their defaults, without a word. Where the second field has no default it is a TypeError about
# a missing argument. sktime clones forecasters wherever they are in a pipeline, a tuner or over columns; so an
# object that trains by itself runs with other options there. Seen with Python 3.11; the script fails where this
# changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet scikit-base==1.1.1
"$folder/venv/bin/python" - <<'PYTHON'
from typing import NamedTuple

from skbase.base import BaseObject


class Options(NamedTuple):
    width: int = 64
    rate: float = 0.1


class Model(BaseObject):
    def __init__(self, options=Options()):
        self.options = options
        super().__init__()


copy = Model(Options(32, 0.5)).clone()
print(copy.options)
assert copy.options == Options([32, 0.5], 0.1)
PYTHON
