"""A residual perceptron over the dimensions: the default network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.diffusion.schedule import Level
from timediff.networks.base import DenoisingNetwork, Embedded, LevelWaves, Network

__all__ = ["MlpDenoiser"]


class MlpDenoiser(DenoisingNetwork):
    r"""Residual perceptron over the dimensions with adaptive layer norm: matrix products only.

    Each block is :math:`h \leftarrow h + W_2\, \mathrm{silu}\big(W_1 (\mathrm{LN}(h)(1 + s) + b + c)\big)`
    with scale :math:`s` and shift :math:`b` from the noise level and shift :math:`c` from the condition:
    both can be prepared outside the sampling loop.

    Source: adaptive layer norm as in Peebles & Xie (2023), arXiv:2212.09748.

    Args:
        target_dim: D.
        cond_size: C.
        layers: Residual blocks.
        width: Units of a block.
        inputs: Vectors that come in.
        outputs: Vectors that come out.
    """

    def __init__(
        self,
        target_dim: int,
        *,
        cond_size: int,
        layers: int,
        width: int,
        inputs: int = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.width, self.outputs = width, outputs
        self.waves = LevelWaves()
        self.level = nn.Sequential(
            nn.Linear(self.waves.size, width), nn.SiLU(), nn.Linear(width, 2 * width * (layers + 1))
        )
        self.condition = nn.Sequential(
            nn.Linear(cond_size, width), nn.SiLU(), nn.Linear(width, width * (layers + 1))
        )
        self.input = nn.Linear(inputs * target_dim, width)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.output = nn.Linear(width, outputs * target_dim)
        for last in (self.output, *self.second):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.floats_per_row = width * (3 * layers + 12)

    def embed_level(self, level: Level) -> Embedded:
        """Factor and shift of every norm, ``[..., width]`` each."""
        parts = self.level(self.waves(level)).split(self.width, dim=-1)
        return tuple(part if i % 2 else 1 + part for i, part in enumerate(parts))

    def under(self, cond: Tensor) -> Network:
        width = self.width
        start, *shifts = self.condition(cond.reshape(-1, cond.shape[-1])).split(width, dim=-1)
        start = start + self.input.bias
        input_weight = self.input.weight.t()
        weights, biases = (part.chunk(self.outputs) for part in self.output.parameters())
        heads = [(bias, weight.t()) for weight, bias in zip(weights, biases, strict=True)]
        blocks: list[tuple[Tensor, ...]] = [
            (first(shift), first.weight.t(), second.weight.t(), second.bias)  # type: ignore[operator, misc]
            for first, second, shift in zip(self.first, self.second, shifts, strict=True)
        ]

        def network(x: Tensor, level: Embedded) -> tuple[Tensor, ...]:
            if level[0].dim() > 1:
                level = tuple(part.reshape(-1, width) for part in level)
            *norms, last = zip(level[::2], level[1::2], strict=True)
            flat = x.dim() == 2
            h = torch.addmm(start, x if flat else x.reshape(-1, x.shape[-1]), input_weight)
            for norm, (shift, first, second, bias) in zip(norms, blocks, strict=True):
                y = torch.addmm(shift, _normed(h, *norm), first)
                h = torch.addmm(h, F.silu(y), second).add_(bias)
            y = _normed(h, *last)
            outputs = tuple(torch.addmm(bias, y, weight) for bias, weight in heads)
            return outputs if flat else tuple(out.view(*x.shape[:-1], -1) for out in outputs)

        return network


def _normed(h: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    if factor.dim() == 1:
        # One level for all rows, as in sampling: torch's own affine layer norm saves two passes.
        return torch.layer_norm(h, factor.shape, factor, shift)
    return torch.addcmul(shift, torch.layer_norm(h, factor.shape[-1:]), factor)
