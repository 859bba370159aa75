"""The paper's denoiser: dilated convolutions over the dimensions, as products of matrices."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.diffusion.schedule import Level
from timediff.errors import InputError
from timediff.networks.base import DenoisingNetwork, Embedded, Network

__all__ = ["CACHED", "ConvDenoiser"]

#: Entries of R * P that go through `ConvDenoiser` at a time on a CPU, so that they stay in its cache.
CACHED = 2**16


class ConvDenoiser(DenoisingNetwork):
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
        width: Channels of a block.
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
        width: int,
        dilation_cycle: int,
        inputs: int = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        channels, padded = width, target_dim + 4
        if 2 ** (min(layers, dilation_cycle) - 1) > padded:
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
            _GatedBlock(channels, width=padded, dilation=2 ** (i % dilation_cycle))
            for i in range(layers)
        )
        self.skip = nn.Conv1d(channels, channels, 3)
        self.output = nn.Conv1d(channels, outputs, 3)
        nn.init.kaiming_normal_(self.input.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.zeros_(self.output.weight)
        self.floats_per_row = 10 * channels * padded + 2 * channels * layers

    def embed_level(self, level: Level) -> Embedded:
        """Terms that a level adds to gates and values of all blocks, ``[..., layers * 2 * channels]``."""
        # The authors count from 0. The sinusoids are a function of n, not a table, so any N will do. But many
        # turn more than once from one step to the next, and the network has learned nothing of what is in
        # between: a level between two steps gets a mixture of theirs.
        n = (level.n - 1).to(self.frequencies.dtype)
        lower = n.floor()
        share = (n - lower)[..., None]
        hidden = self.level(torch.lerp(self._waves(lower), self._waves(lower + 1), share))
        blocks = [block.embed_level(hidden) for block in self.blocks]  # type: ignore[operator]
        return (torch.cat(blocks, dim=-1),)

    def _waves(self, n: Tensor) -> Tensor:
        phase = n[..., None] * self.frequencies  # [..., 16]
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def under(self, cond: Tensor) -> Network:
        cond = self.condition(cond)[..., self.wrap].reshape(-1, len(self.wrap)).T  # [P, R or 1]
        prepared: dict[tuple[int, int], _AtOneLevel] = {}

        def at_one_level(x: Tensor, level: Tensor, first: int) -> Tensor:
            part = (first, x.shape[-1])
            if part not in prepared:
                prepared[part] = _AtOneLevel(
                    self, _rows_of(cond, slice(first, sum(part))), rows=part[1]
                )
            return prepared[part](x, level)

        def network(x: Tensor, embedded: Embedded) -> tuple[Tensor, ...]:
            leading, width, (level,) = x.shape[:-1], len(self.wrap), embedded
            x = x.reshape(-1, self.inputs, width - 4).permute(1, 2, 0)  # [inputs, D, R]
            rows = x.shape[-1]
            if torch.is_grad_enabled() or level.dim() > 1:
                level = level.reshape(-1, len(self.blocks), 2 * self.channels).permute(1, 2, 0)
                out = self._rows(x, level, cond.expand(-1, rows))
            else:
                size = rows if x.is_cuda else -(-rows // -(-rows * width // CACHED))
                parts = [
                    at_one_level(x[..., first : first + size], level, first)
                    for first in range(0, rows, size)
                ]
                out = torch.cat(parts, dim=-1)
            outputs = out.transpose(1, 2)  # [outputs, R, D]
            return outputs.reshape(-1, *leading, width - 4).unbind()

        return network

    def _rows(self, x: Tensor, level: Tensor, cond: Tensor) -> Tensor:
        """Outputs ``[outputs, D, R]`` of ``x [inputs, D, R]`` at levels ``[layers, 2 * channels, R]``."""
        x = F.leaky_relu_(_convolve(self.input, x.index_select(1, self.wrap)), 0.4)
        skips = torch.zeros_like(x)  # [channels, P, R]
        for i, (block, its_level) in enumerate(zip(self.blocks, level, strict=True)):
            x, skip = block(x, its_level[:, None], cond, growth=2 ** (i / 2))
            skips += skip
        y = _convolve(self.skip, skips, factor=1 / math.sqrt(len(self.blocks)))
        return _convolve(self.output, F.leaky_relu_(y, 0.4))


def _rows_of(values: Tensor, rows: slice) -> Tensor:
    """Values ``[..., R]`` of some rows; those ``[..., 1]`` shared by all rows as they are."""
    return values if values.shape[-1] == 1 else values[..., rows]


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
        gain = torch.tensor([1.0, 2.0]).repeat_interleave(channels)[:, None]
        self.register_buffer("gain", gain, persistent=False)

    def embed_level(self, hidden: Tensor) -> Tensor:
        """Terms that the level and the biases add to gates and values, ``[..., 2 * channels]``."""
        # A circular convolution multiplies a constant by the sum of its taps.
        terms = F.linear(self.level(hidden), self.dilated.weight.sum(dim=-1), self.dilated.bias)
        return (terms + self.condition.bias) * self.gain.flatten()  # type: ignore[operator]

    def weights(self, *, growth: float) -> tuple[Tensor, Tensor]:
        """Weights of the taps of ``x / growth``, ``[2 * channels, 3 * channels]``, and of the condition."""
        of_x = self.dilated.weight.flatten(1) * (self.gain / growth)
        return of_x, self.condition.weight.flatten(1) * self.gain

    def forward(
        self, x: Tensor, level: Tensor, cond: Tensor, *, growth: float
    ) -> tuple[Tensor, Tensor]:
        """The next x and the skip, ``[channels, P, R]``, from ``x / growth``.

        The x of the formula is divided by sqrt 2 after every block. Here it grows instead, and the weights
        that multiply it are divided, which saves a pass through memory.
        """
        of_x, of_cond = self.weights(growth=growth)
        y = torch.addcmul(level, of_cond[..., None], cond).flatten(1)  # [2 * channels, P * R]
        y = y.addmm_(of_x, x.index_select(1, self.taps).view(-1, y.shape[-1]))
        gate, value = y.sigmoid_().chunk(2)
        minus = torch.addcmul(gate, gate, value, value=-2)
        bias, weight = self.output.bias[:, None], self.output.weight.flatten(1)  # type: ignore[index]
        y = F.leaky_relu_(torch.addmm(bias, weight, minus, alpha=-1), 0.4)
        residual, skip = y.view(-1, *x.shape[1:]).chunk(2)
        return torch.add(x, residual, alpha=growth), skip


class _AtOneLevel:
    """The network for rows that share a level, without gradients: weights, memory and views are made once.

    A block's gates and values are then one product of its weights with x itself, its two other taps, the
    condition, and ones for the level. Each call into torch, even for a view, releases Python's lock and must
    get it back from other workers: so all views are made before the loop.

    Args:
        network: The network.
        cond: ``[P, rows]``, or ``[P, 1]`` for all.
        rows: R.
    """

    def __init__(self, network: ConvDenoiser, cond: Tensor, *, rows: int) -> None:
        width, channels = len(cond), network.channels
        self.wrap, self.first, self.rows = network.wrap, _matrix(network.input), rows
        weights = cond.new_zeros(len(network.blocks), 2 * channels, 3 * channels + 2)
        self.of_level = weights[..., -1]
        self.blocks: list[tuple[Tensor, Tensor, Tensor, Tensor, float]] = []
        for i, (its_weights, block) in enumerate(zip(weights, network.blocks, strict=True)):
            growth = 2 ** (i / 2)
            of_x, of_cond = block.weights(growth=growth)  # type: ignore[operator]
            left, centre, right = of_x.unflatten(1, (channels, 3)).unbind(dim=2)
            sides = torch.stack([left, right], dim=2).flatten(1)
            its_weights[:, :-1] = torch.cat([centre, sides, of_cond], dim=1)
            places = block.taps.view(3, width)[::2].flatten()  # type: ignore[operator]
            output = _matrix(block.output)  # type: ignore[arg-type]
            self.blocks.append((its_weights, places, *output, growth))
        self.mixed = cond.new_ones(3 * channels + 2, width * rows)
        self.mixed[-2].view(width, rows).copy_(cond)
        self.x = self.mixed[:channels]
        self.taps = self.mixed[channels:-2].view(channels, 2 * width, rows)
        self.skips, self.narrow = cond.new_empty(2, channels, width * rows)
        self.by_place = self.x.view(channels, width, rows)
        self.wide = cond.new_empty(2 * channels, width * rows)
        self.halves = self.wide.chunk(2)
        # The two last convolutions are not padded: each leaves two entries fewer than it sees.
        self.skip = _Unpadded(network.skip, self.skips, self.mixed, width=width)
        between = self.narrow.view(-1)[: channels * (width - 2) * rows].view(channels, -1)
        self.between = between
        self.last = _Unpadded(network.output, between, self.mixed, width=width - 2)

    def __call__(self, x: Tensor, level: Tensor) -> Tensor:
        """Outputs ``[outputs, D, R]`` of ``x [inputs, D, R]`` at an embedded level."""
        slope, hidden, skips, wide, narrow = 0.4, self.x, self.skips, self.wide, self.narrow
        (gate, value), (residual, skip) = self.halves, self.halves
        self.of_level.copy_(level.view(self.of_level.shape))
        bias, weight = self.first
        torch.addmm(bias, weight, x.index_select(1, self.wrap).flatten(1), out=hidden)
        F.leaky_relu_(hidden, slope)
        skips.zero_()
        for weights, places, bias, weight, growth in self.blocks:
            torch.index_select(self.by_place, 1, places, out=self.taps)
            torch.mm(weights, self.mixed, out=wide).sigmoid_()
            torch.addcmul(gate, gate, value, value=-2, out=narrow)
            F.leaky_relu_(torch.addmm(bias, weight, narrow, alpha=-1, out=wide), slope)
            hidden.add_(residual, alpha=growth)
            skips.add_(skip)
        self.skip(factor=1 / math.sqrt(len(self.blocks)), out=self.between)
        F.leaky_relu_(self.between, slope)
        y = self.last()
        return y.view(len(y), -1, self.rows)


class _Unpadded:
    """An unpadded convolution of what is in ``x [channels, width * R]``, with ``memory`` for its taps."""

    def __init__(self, conv: nn.Conv1d, x: Tensor, memory: Tensor, *, width: int) -> None:
        self.bias, self.weight = _matrix(conv)
        self.x = x.view(len(x), width, -1)
        first = torch.arange(width - 2, device=x.device)
        self.places = torch.cat([first, first + 1, first + 2])
        size = len(x) * len(self.places) * self.x.shape[-1]
        self.taps = memory.view(-1)[:size].view(len(x), len(self.places), -1)
        self.columns = self.taps.view(3 * len(x), -1)

    def __call__(self, *, factor: float = 1.0, out: Tensor | None = None) -> Tensor:
        """The convolution of ``factor`` times x, ``[outputs, (width - 2) * R]``."""
        torch.index_select(self.x, 1, self.places, out=self.taps)
        return torch.addmm(self.bias, self.weight, self.columns, alpha=factor, out=out)


def _matrix(conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Bias ``[O, 1]`` and weights ``[O, I * taps]`` of a convolution as a product."""
    return conv.bias[:, None], conv.weight.flatten(1)  # type: ignore[index]


def _convolve(conv: nn.Conv1d, x: Tensor, *, factor: float = 1.0) -> Tensor:
    """The unpadded convolution of ``factor * x [I, P, R]`` as a matrix product, ``[O, P - taps + 1, R]``."""
    taps, rows = conv.kernel_size[0], x.shape[-1]
    columns = x.unfold(1, taps, 1).movedim(-1, 1).reshape(len(x) * taps, -1)
    bias, weight = _matrix(conv)
    return torch.addmm(bias, weight, columns, alpha=factor).view(len(weight), -1, rows)
