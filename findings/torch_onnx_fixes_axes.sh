#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: torch.onnx.export fixes an axis that was to be dynamic, and lets names collide.
#
# A module that takes len(x) has as many rows as the example had. torch.export says so and refuses `dynamic_shapes`
# that ask for any number of them; torch.onnx.export (dynamo=True), given the same arguments, reports success and
# writes a graph for the example's number of rows alone, without a warning. And `output_names` are not held against
# the names of tensors inside: an output called as one of them, here "mean", ends in a graph that defines the name
# twice, which no runtime loads; nothing is said at export. Seen with Python 3.11; the script fails where this
# changes. What helps: call torch.export.export first and hand its program over, and give outputs names that no
# operator has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.0 onnxscript==0.7.2 onnxruntime==1.31.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import onnxruntime
import torch
from torch import nn


class Rows(nn.Module):
    def forward(self, x):
        return x * torch.ones(len(x), 1)


class Away(nn.Module):
    def forward(self, x):
        mean = x.mean(dim=0)
        return x - mean, 2 * mean


x = torch.zeros(2, 3)
shapes = ({0: torch.export.Dim("rows", min=2, max=1000)},)
try:
    torch.export.export(Rows().eval(), (x,), dynamic_shapes=shapes)
    raise AssertionError("torch.export takes it now")
except torch._dynamo.exc.UserError as error:
    print("torch.export:", str(error).splitlines()[0])
options = {"dynamo": True, "verbose": False}
program = torch.onnx.export(Rows().eval(), (x,), dynamic_shapes=shapes, **options)
print("torch.onnx: ", program.model.graph.inputs[0])
assert list(program.model.graph.inputs[0].shape) == [2, 3]

torch.onnx.export(Away().eval(), (x,), "away.onnx", output_names=["away", "mean"], **options)
try:
    onnxruntime.InferenceSession("away.onnx")
    raise AssertionError("the graph can be loaded now")
except Exception as error:
    print("onnxruntime:", error)
    assert "Duplicate definition of name (mean)" in str(error)
PYTHON
