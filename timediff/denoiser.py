r"""The networks :math:`f_\theta(x_n, \text{level}, \text{cond})` that see one time step's noised vector of
targets. What their output stands for (noise, clean data, ...) is `timediff.parameterisation`'s business.

A denoiser is used in two parts. ``embed_level`` and ``embed_condition`` prepare what stays the same
while ``x`` changes (the first once per forecast, the second once per time step); ``forward`` does the
rest and is called at every diffusion step.

Shapes: ``x [..., inputs * D]``, ``cond [..., C]``; a level is ``[...]`` or a scalar shared by all rows; the
output is ``[..., outputs * D]``. A second input is the network's earlier estimate (self-conditioning), a
second output the variance.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.errors import InputError
from timediff.schedule import Level


class Denoiser(nn.Module, ABC):
    """Interface of the networks."""

    #: Roughly how many numbers a row takes while it passes through, for planning memory.
    floats_per_row: int

    @abstractmethod
    def embed_level(self, level: Level) -> Tensor:
        """Features of the noise level, ``[..., E]``."""

    @abstractmethod
    def embed_condition(self, cond: Tensor) -> Tensor:
        """Features of the condition ``[..., C]``, ``[..., K]``."""

    @abstractmethod
    def forward(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        """The output ``[..., outputs * D]`` from ``x`` and the two embeddings."""


class ConvDenoiser(Denoiser):
    """The paper's network: gated residual blocks of dilated convolutions over the dimensions.

    Source: Rasul et al. (2021), arXiv:2101.12072, section 3.1 and figure 2, after DiffWave
    (Kong et al. 2021, arXiv:2009.09761). As in the authors' code the vector is made periodic and
    two entries wider at each end, which the two last convolutions take back.

    Args:
        target_dim: D.
        cond_size: C.
        layers: Residual blocks.
        channels: Channels of a block.
        dilation_cycle: Dilation of block i is ``2 ** (i % dilation_cycle)``.
        inputs: Vectors that come in, a channel each.
        outputs: Vectors that come out.
    """

    wrap: Tensor
    frequencies: Tensor

    def __init__(
        self,
        target_dim: int,
        *,
        cond_size: int,
        layers: int,
        channels: int,
        dilation_cycle: int,
        inputs: int = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        if 2 ** (min(layers, dilation_cycle) - 1) > target_dim + 4:
            raise InputError(
                f"dilation_cycle {dilation_cycle} reaches further than {target_dim} dimensions go round; "
                "choose a smaller one"
            )
        # torch's circular padding cannot wrap round more than once, which short vectors need.
        wrap = torch.arange(-2, target_dim + 2) % target_dim
        self.register_buffer("wrap", wrap, persistent=False)
        self.register_buffer("frequencies", 10.0 ** (torch.arange(16) * 4 / 16), persistent=False)
        self.level = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.condition = nn.Sequential(
            nn.Linear(cond_size, max(1, target_dim // 2)),
            nn.LeakyReLU(0.4),
            nn.Linear(max(1, target_dim // 2), target_dim),
            nn.LeakyReLU(0.4),
        )
        self.inputs = inputs
        self.input = nn.Conv1d(inputs, channels, 1)
        self.blocks = nn.ModuleList(
            _GatedBlock(channels, dilation=2 ** (i % dilation_cycle)) for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.output = nn.Conv1d(channels, outputs, 3)
        nn.init.kaiming_normal_(self.input.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.zeros_(self.output.weight)
        self.floats_per_row = 2 * channels * (layers + 4) * (target_dim + 4)

    def embed_level(self, level: Level) -> Tensor:
        # The authors count from 0. The sinusoids are a function of n, not a table, so any N will do, but many
        # turn more than once from one step to the next: between two steps their mixture is what was learned.
        n = (level.n - 1).to(self.frequencies.dtype)
        before = n.floor()
        share = (n - before)[..., None]
        return self.level(torch.lerp(self._waves(before), self._waves(before + 1), share))

    def _waves(self, n: Tensor) -> Tensor:
        phase = n[..., None] * self.frequencies  # [..., 16]
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def embed_condition(self, cond: Tensor) -> Tensor:
        wide = self.condition(cond)[..., self.wrap]  # [..., D + 4]
        rows = wide.reshape(-1, 1, wide.shape[-1])
        blocks = torch.cat([block.condition(rows) for block in self.blocks], dim=1)  # type: ignore[operator]
        return blocks.reshape(*wide.shape[:-1], -1)  # [..., layers * 2 * channels * (D + 4)]

    def forward(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        leading = x.shape[:-1]
        x = x.reshape(-1, self.inputs, x.shape[-1] // self.inputs)
        x = x[..., self.wrap]  # [B', inputs, D + 4]
        rows = cond.reshape(-1, cond.shape[-1] // x.shape[-1], x.shape[-1])  # [B' or 1, ...]
        conditions = rows.chunk(len(self.blocks), dim=1)
        level = level.reshape(-1, level.shape[-1], 1)  # [B' or 1, E, 1]
        x = F.leaky_relu(self.input(x), 0.4)
        skips = torch.zeros_like(x)  # [B', channels, D + 4]
        for block, condition in zip(self.blocks, conditions, strict=True):
            x, skip = block(x, level, condition)
            skips = skips + skip
        x = F.leaky_relu(self.skip(skips / math.sqrt(len(self.blocks))), 0.4)
        return self.output(x).reshape(*leading, -1)


class _GatedBlock(nn.Module):
    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.level = nn.Linear(64, channels)
        self.condition = nn.Conv1d(1, 2 * channels, 1)
        self.dilated = nn.Conv1d(
            channels, 2 * channels, 3, dilation=dilation, padding=dilation, padding_mode="circular"
        )
        self.output = nn.Conv1d(channels, 2 * channels, 1)
        nn.init.kaiming_normal_(self.condition.weight)
        nn.init.kaiming_normal_(self.output.weight)

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        y = x + self.level(level.transpose(-1, -2)).transpose(-1, -2)
        gate, value = (self.dilated(y) + condition).chunk(2, dim=1)
        y = F.leaky_relu(self.output(gate.sigmoid() * value.tanh()), 0.4)
        residual, skip = y.chunk(2, dim=1)
        return (x + residual) / math.sqrt(2), skip


class MlpDenoiser(Denoiser):
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

    frequencies: Tensor

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
        # log-SNR runs over about -6 .. 10: wavelengths from 40 down to 0.6.
        self.register_buffer("frequencies", 0.15 * 2.0 ** (torch.arange(13) / 2), persistent=False)
        self.width = width
        self.level = nn.Sequential(
            nn.Linear(26, width), nn.SiLU(), nn.Linear(width, 2 * width * (layers + 1))
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

    def embed_level(self, level: Level) -> Tensor:
        phase = level.log_snr[..., None] * self.frequencies
        return self.level(torch.cat([phase.sin(), phase.cos()], dim=-1))

    def embed_condition(self, cond: Tensor) -> Tensor:
        return self.condition(cond)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        parts = level.reshape(-1, level.shape[-1]).split(self.width, dim=-1)  # [B' or 1, W] each
        start, *conditions = cond.reshape(-1, cond.shape[-1]).split(self.width, dim=-1)
        h = torch.addmm(start + self.input.bias, rows, self.input.weight.t())
        for i, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            y = self._norm(h, *parts[2 * i : 2 * i + 2]) + conditions[i]
            h = h + second(F.silu(first(y)))
        out = self.output(self._norm(h, *parts[-2:]))
        return out.reshape(*x.shape[:-1], -1)

    def _norm(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        if len(scale) == 1:
            # One level for all rows, as in sampling: torch's own affine layer norm saves two passes.
            return F.layer_norm(h, (self.width,), 1 + scale[0], shift[0])
        return torch.addcmul(shift, F.layer_norm(h, (self.width,)), 1 + scale)
