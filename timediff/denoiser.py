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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.errors import InputError
from timediff.schedule import Level

#: Entries of R * P that go through `ConvDenoiser` at a time on a CPU, so that they stay in its cache.
CACHED = 2**14


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
    two entries wider at each end, P = D + 4, which the two last convolutions take back.

    Channels come first and rows last, ``[channels, P, R]``, so that every convolution is one product of a
    small matrix with a wide one. With so few channels that is several times faster than ``conv1d`` on a CPU.

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
        width = target_dim + 4
        if 2 ** (min(layers, dilation_cycle) - 1) > width:
            raise InputError(
                f"dilation_cycle {dilation_cycle} reaches further than {target_dim} dimensions go round; "
                "choose a smaller one"
            )
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
        self.inputs, self.channels = inputs, channels
        self.input = nn.Conv1d(inputs, channels, 1)
        self.blocks = nn.ModuleList(
            _GatedBlock(channels, width=width, dilation=2 ** (i % dilation_cycle))
            for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.output = nn.Conv1d(channels, outputs, 3)
        nn.init.kaiming_normal_(self.input.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.zeros_(self.output.weight)
        self.floats_per_row = 10 * channels * width + 2 * channels * layers

    def embed_level(self, level: Level) -> Tensor:
        # The authors count from 0. The sinusoids are a function of n, not a table, so any N will do, but many
        # turn more than once from one step to the next: between two steps their mixture is what was learned.
        n = (level.n - 1).to(self.frequencies.dtype)
        before = n.floor()
        share = (n - before)[..., None]
        hidden = self.level(torch.lerp(self._waves(before), self._waves(before + 1), share))
        blocks = [block.embed_level(hidden) for block in self.blocks]  # type: ignore[operator]
        return torch.cat(blocks, dim=-1)  # [..., layers * 2 * channels]

    def _waves(self, n: Tensor) -> Tensor:
        phase = n[..., None] * self.frequencies  # [..., 16]
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def embed_condition(self, cond: Tensor) -> Tensor:
        wide = self.condition(cond)[..., self.wrap]  # [..., P]
        return wide.movedim(-1, 0).contiguous().movedim(0, -1)  # rows last in memory, as in forward

    def forward(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        leading, width = x.shape[:-1], len(self.wrap)
        x = x.reshape(-1, self.inputs, width - 4).permute(1, 2, 0)  # [inputs, D, R]
        rows = x.shape[-1]
        level = level.reshape(-1, level.shape[-1]).T.expand(-1, rows).contiguous()
        level = level.view(len(self.blocks), -1, 1, rows)  # [layers, 2 * channels, 1, R]
        cond = cond.reshape(-1, width).T.expand(-1, rows).contiguous()  # [P, R]
        size = rows if x.is_cuda else -(-rows // -(-rows * width // CACHED))
        memory, parts = _Memory(), []
        for first in range(0, rows, size):
            some = slice(first, first + size)
            if not torch.is_grad_enabled() and (first == 0 or first + size > rows):
                memory = _Memory.like(x[..., some], channels=self.channels, width=width)
            parts.append(self._rows(x[..., some], level[..., some], cond[..., some], memory))
        return torch.cat(parts, dim=-1).permute(2, 0, 1).reshape(*leading, -1)

    def _rows(self, x: Tensor, level: Tensor, cond: Tensor, memory: "_Memory") -> Tensor:
        """Outputs ``[outputs, D, R]`` of ``x [inputs, D, R]``."""
        x = F.leaky_relu_(_convolve(self.input, x.index_select(1, self.wrap)), 0.4)
        skips = torch.zeros_like(x)  # [channels, P, R]
        for i, (block, its_level) in enumerate(zip(self.blocks, level, strict=True)):
            x, skip = block(x, its_level, cond, grown=2 ** (i / 2), memory=memory)
            skips += skip
        y = _convolve(self.skip, skips, factor=1 / math.sqrt(len(self.blocks)))
        return _convolve(self.output, F.leaky_relu_(y, 0.4))


class _Memory(NamedTuple):
    """Tensors that all blocks of a `ConvDenoiser` write to; none where autograd keeps those of each."""

    taps: Tensor | None = None
    wide: Tensor | None = None
    flat: Tensor | None = None
    narrow: Tensor | None = None

    @classmethod
    def like(cls, x: Tensor, *, channels: int, width: int) -> "_Memory":
        rows = x.shape[-1]
        wide = x.new_empty(2 * channels, width, rows)
        return cls(
            taps=x.new_empty(channels, 3 * width, rows),
            wide=wide,
            flat=wide.flatten(1),
            narrow=x.new_empty(channels, width * rows),
        )


class _GatedBlock(nn.Module):
    taps: Tensor
    gain: Tensor

    def __init__(self, channels: int, *, width: int, dilation: int) -> None:
        super().__init__()
        self.level = nn.Linear(64, channels)
        self.condition = nn.Conv1d(1, 2 * channels, 1)
        self.dilated = nn.Conv1d(channels, 2 * channels, 3, dilation=dilation)
        self.output = nn.Conv1d(channels, 2 * channels, 1)
        nn.init.kaiming_normal_(self.condition.weight)
        nn.init.kaiming_normal_(self.output.weight)
        shifts = torch.tensor([-dilation, 0, dilation])[:, None]
        taps = ((torch.arange(width) + shifts) % width).flatten()  # circular padding
        self.register_buffer("taps", taps, persistent=False)
        # tanh(v) = 2 sigmoid(2 v) - 1, several times faster than torch's tanh: the values come doubled.
        gain = torch.tensor([1.0, 2.0]).repeat_interleave(channels)[:, None, None]
        self.register_buffer("gain", gain, persistent=False)

    def embed_level(self, hidden: Tensor) -> Tensor:
        """What the level and the biases add to gates and values, ``[..., 2 * channels]``."""
        # In a circular convolution a constant meets the sum of the taps.
        added = F.linear(self.level(hidden), self.dilated.weight.sum(dim=-1), self.dilated.bias)
        return (added + self.condition.bias) * self.gain.flatten()  # type: ignore[operator]

    def forward(
        self, x: Tensor, level: Tensor, cond: Tensor, *, grown: float, memory: _Memory
    ) -> tuple[Tensor, Tensor]:
        """The next x and the skip, ``[channels, P, R]``, from ``x / grown``.

        The x of the formula is divided by sqrt 2 after every block; ours grows instead, and the weights that
        it meets are divided, which saves a pass through memory.
        """
        cond_weight = self.condition.weight * self.gain
        y = torch.addcmul(level, cond_weight, cond, out=memory.wide).flatten(1)
        taken = torch.index_select(x, 1, self.taps, out=memory.taps).view(-1, y.shape[-1])
        y.addmm_((self.dilated.weight * self.gain).flatten(1), taken, alpha=1 / grown)
        gate, value = y.sigmoid_().chunk(2)
        minus = torch.addcmul(gate, gate, value, value=-2, out=memory.narrow)
        bias, weight = self.output.bias[:, None], self.output.weight.flatten(1)  # type: ignore[index]
        y = torch.addmm(bias, weight, minus, alpha=-1, out=memory.flat)
        residual, skip = F.leaky_relu_(y, 0.4).view(-1, *x.shape[1:]).chunk(2)
        return torch.add(x, residual, alpha=grown), skip


def _convolve(conv: nn.Conv1d, x: Tensor, *, factor: float = 1.0) -> Tensor:
    """The unpadded convolution of ``factor * x [I, P, R]`` as a matrix product, ``[O, P - taps + 1, R]``."""
    taps, rows = conv.kernel_size[0], x.shape[-1]
    weight = conv.weight.flatten(1)  # [O, I * taps]
    taken = x.unfold(1, taps, 1).movedim(-1, 1).reshape(weight.shape[1], -1)
    y = torch.addmm(conv.bias[:, None], weight, taken, alpha=factor)  # type: ignore[index]
    return y.view(len(weight), -1, rows)


class LevelWaves(nn.Module):
    """Sinusoids of the log-SNR, wavelengths 40 to 0.6 as it runs over about -6 .. 10: ``[..., size]``."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", 0.15 * 2.0 ** (torch.arange(13) / 2), persistent=False)
        self.size = 2 * len(self.frequencies)

    def forward(self, level: Level) -> Tensor:
        phase = level.log_snr[..., None] * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


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
        self.width = width
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

    def embed_level(self, level: Level) -> Tensor:
        """Factor and shift of every norm."""
        embedded = self.level(self.waves(level))
        scale, shift = embedded.unflatten(-1, (-1, 2, self.width)).unbind(dim=-2)
        return torch.stack([1 + scale, shift], dim=-2).flatten(-3)

    def embed_condition(self, cond: Tensor) -> Tensor:
        """What the condition and the biases add to the input and to each block, after its first weights."""
        start, *shifts = self.condition(cond).split(self.width, dim=-1)
        added = (first(shift) for first, shift in zip(self.first, shifts, strict=True))
        return torch.cat([start + self.input.bias, *added], dim=-1)

    def forward(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # One level for all rows, as in sampling, stays a vector.
        level = level if level.dim() == 1 else level.reshape(-1, level.shape[-1])
        norms = level.split(self.width, dim=-1)  # factor and shift of each
        start, *conditions = cond.reshape(-1, cond.shape[-1]).split(self.width, dim=-1)
        h = torch.addmm(start, rows, self.input.weight.t())
        for i, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            y = self._norm(h, *norms[2 * i : 2 * i + 2])
            y = torch.addmm(conditions[i], y, first.weight.t())  # type: ignore[operator]
            h = h + F.linear(F.silu(y), second.weight, second.bias)  # type: ignore[arg-type]
        out = self.output(self._norm(h, *norms[-2:]))
        return out.reshape(*x.shape[:-1], -1)

    def _norm(self, h: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
        if factor.dim() == 1:
            # torch's own affine layer norm saves two passes.
            return F.layer_norm(h, (self.width,), factor, shift)
        return torch.addcmul(shift, F.layer_norm(h, (self.width,)), factor)
