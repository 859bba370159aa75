#!/usr/bin/env bash
# GluonTS 0.17.0: its web service answers every multivariate request with status 500, whatever the predictor.
#
# The shell reads the instances of a request by ListDataset(instances, freq), which checks that targets have one
# dimension. A predictor of several, which GluonTS has (DeepVAR) and loads, never sees a target [D, T]: the
# client gets a traceback of the server, paths of its files included. And the address and port that its settings
# have (SAGEMAKER_SERVER_ADDRESS, SAGEMAKER_SERVER_PORT) are read, but not used: it listens at "*:8080", that is
# to all the world. Seen with Python 3.11; the script fails where this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "gluonts[shell]==0.17.0" packaging "pandas==2.3.3" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import inspect

import numpy as np
from gluonts.model.forecast import SampleForecast
from gluonts.shell import __main__ as shell
from gluonts.shell.serve import Settings
from gluonts.shell.serve.app import make_app


class Last:
    """Repeats the last values, of one dimension or several."""

    def predict(self, dataset, num_samples):
        for entry in dataset:
            last = np.asarray(entry["target"])[..., -1]
            samples = np.tile(last, (num_samples, 3) + (1,) * last.ndim)
            yield SampleForecast(samples, entry["start"] + np.shape(entry["target"])[-1])


client = make_app(lambda request: Last(), {}, None, Settings()).test_client()


def ask(target):
    instance = {"start": "2024-01-01", "target": target}
    configuration = {"freq": "D", "num_samples": 2, "output_types": ["samples"]}
    return client.post(
        "/invocations", json={"instances": [instance], "configuration": configuration}
    )


one, several = ask([1.0, 2.0]), ask([[1.0, 2.0], [3.0, 4.0]])
print(one.status_code, one.get_json())
print(several.status_code, several.text.splitlines()[-1])
assert one.status_code == 200
assert several.status_code == 500 and "expected 1 dimensions, got 2" in several.text
assert '"*:8080"' in inspect.getsource(shell) and Settings(sagemaker_server_port=9).sagemaker_server_port == 9
PYTHON
