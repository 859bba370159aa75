r"""The published TimeGrad as plainly as it can be written: what `speed.py` measures timediff against.

Network, training step and sampling loop do what the public code (PyPI pytorchts 0.6.0) does, and as it does
it: every network call looks up and projects the step's embedding, runs the conditioner and projects its
result in every block, and gathers the chain's coefficients row by row; the lags of a horizon step are cut
from a past that grows by concatenation. Nothing is prepared outside a loop. Imports torch only.

Axes: ``B`` windows, ``S`` paths, ``R`` rows of the network (windows x steps, or paths), ``T`` steps, ``D``
dimensions, ``L`` lags, ``P`` steps of the past, ``C`` of the context, ``F`` calendar features.
Diffusion steps ``n`` count from 0 here, as in that code.

Source: Rasul et al. (2021), arXiv:2101.12072.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = Tensor | tuple[Tensor, Tensor]

CHANNELS, BLOCKS, STEP_SIZE, COND_SIZE, CELLS = 8, 8, 64, 100, 40
#: Rows of the table of step embeddings.
TABLE = 500


class Windows(NamedTuple):
    """Windows of data.

    Attributes:
        target: ``[B, P, D]``, and the T steps of the future behind them for training.
        observed: Which entries are known; the target is 0 elsewhere.
        features: Calendar features of context and horizon, ``[B, C + T, F]``.
    """

    target: Tensor
    observed: Tensor
    features: Tensor


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.4)


def circular(
    inputs: int, outputs: int, kernel: int, *, padding: int, dilation: int = 1
) -> nn.Conv1d:
    return nn.Conv1d(
        inputs, outputs, kernel, padding=padding, dilation=dilation, padding_mode="circular"
    )


class StepEmbedding(nn.Module):
    """A row of sines and cosines for each diffusion step, projected twice, ``[R, 64]``."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        phase = torch.arange(TABLE)[:, None] * 10.0 ** (torch.arange(16) * 4 / 16)
        self.register_buffer("table", torch.cat([phase.sin(), phase.cos()], dim=1), False)
        self.first, self.second = nn.Linear(32, STEP_SIZE), nn.Linear(STEP_SIZE, STEP_SIZE)

    def forward(self, n: Tensor) -> Tensor:
        return F.silu(self.second(F.silu(self.first(self.table[n]))))


class Conditioner(nn.Module):
    """The condition ``[R, 1, 100]`` as a signal over the dimensions, ``[R, 1, D]``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(COND_SIZE, dim // 2), nn.Linear(dim // 2, dim)

    def forward(self, cond: Tensor) -> Tensor:
        return leaky(self.second(leaky(self.first(cond))))


class Block(nn.Module):
    """A gated residual block: what goes on, ``[R, 8, D + 4]``, and what goes to the sum of all blocks."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.step = nn.Linear(STEP_SIZE, CHANNELS)
        self.dilated = circular(CHANNELS, 2 * CHANNELS, 3, padding=dilation, dilation=dilation)
        self.condition = circular(1, 2 * CHANNELS, 1, padding=2)
        self.output = nn.Conv1d(CHANNELS, 2 * CHANNELS, 1)
        nn.init.kaiming_normal_(self.condition.weight)
        nn.init.kaiming_normal_(self.output.weight)

    def forward(self, x: Tensor, cond: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        y = x + self.step(step).unsqueeze(-1)
        y = self.dilated(y) + self.condition(cond)  # [R, 16, D + 4]
        gate, value = torch.chunk(y, 2, dim=1)
        y = leaky(self.output(torch.sigmoid(gate) * torch.tanh(value)))
        residual, skip = torch.chunk(y, 2, dim=1)
        return (x + residual) / math.sqrt(2.0), skip


class Network(nn.Module):
    """The noise in ``x [R, 1, D]`` at the steps ``n [R]`` under the conditions ``cond [R, 1, 100]``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.step = StepEmbedding()
        self.conditioner = Conditioner(dim)
        self.input = circular(1, CHANNELS, 1, padding=2)
        self.blocks = nn.ModuleList(Block(2 ** (i % 2)) for i in range(BLOCKS))
        self.skip = nn.Conv1d(CHANNELS, CHANNELS, 3)
        self.output = nn.Conv1d(CHANNELS, 1, 3)
        nn.init.kaiming_normal_(self.input.weight)
        nn.init.kaiming_normal_(self.skip.weight)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, n: Tensor, cond: Tensor) -> Tensor:
        x = leaky(self.input(x))  # [R, 8, D + 4]
        step, cond = self.step(n), self.conditioner(cond)
        skips = []
        for block in self.blocks:
            x, skip = block(x, cond, step)
            skips.append(skip)
        x = torch.sum(torch.stack(skips), dim=0) / math.sqrt(len(self.blocks))
        return self.output(leaky(self.skip(x)))


def take(values: Tensor, n: Tensor) -> Tensor:
    """The entries ``n [R]`` of a coefficient of the chain, ``[R, 1, 1]``."""
    return values.gather(-1, n).reshape(-1, 1, 1)


class Chain(nn.Module):
    """Linear beta from 1e-4 to 0.1, its training loss and its ancestral sampler (Ho et al. 2020)."""

    def __init__(self, network: Network, *, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps
        beta = torch.linspace(1e-4, 0.1, steps, dtype=torch.float64)
        bar = (1 - beta).cumprod(dim=0)
        before = torch.cat([bar.new_ones(1), bar[:-1]])
        variance = beta * (1 - before) / (1 - bar)
        coefficients = {
            "sqrt_bar": bar.sqrt(),
            "sqrt_one_minus_bar": (1 - bar).sqrt(),
            "recip": (1 / bar).sqrt(),
            "recip_minus_one": (1 / bar - 1).sqrt(),
            "mean_x0": beta * before.sqrt() / (1 - bar),
            "mean_x": (1 - before) * (1 - beta).sqrt() / (1 - bar),
            "log_variance": variance.clamp(min=1e-20).log(),
        }
        for name, value in coefficients.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), False)

    def loss(self, x0: Tensor, cond: Tensor, n: Tensor, eps: Tensor) -> Tensor:
        xn = take(self.sqrt_bar, n) * x0 + take(self.sqrt_one_minus_bar, n) * eps
        return F.mse_loss(self.network(xn, n, cond), eps)

    def back(self, x: Tensor, cond: Tensor, n: Tensor, z: Tensor) -> Tensor:
        """One step towards the data, ``[R, 1, D]``, with the noise ``z`` except to clean data."""
        eps = self.network(x, n, cond)
        x0 = take(self.recip, n) * x - take(self.recip_minus_one, n) * eps
        mean = take(self.mean_x0, n) * x0 + take(self.mean_x, n) * x
        spread = (0.5 * take(self.log_variance, n)).exp()
        return mean + (n > 0).to(x.dtype).reshape(-1, 1, 1) * spread * z

    def sample(self, cond: Tensor, noise: Callable[[], Tensor]) -> Tensor:
        """Clean data ``[R, 1, D]``; ``noise()`` is asked once for the start and once for every step."""
        x = noise()
        for i in reversed(range(self.steps)):
            n = torch.full((len(x),), i, device=x.device, dtype=torch.long)
            x = self.back(x, cond, n, noise())
        return x


class Reference(nn.Module):
    """The whole model.

    Args:
        dim: D.
        lags: Lags in steps.
        horizon: T.
        context: C.
        num_features: F.
        cell: ``"gru"``, as in the author's notebook, or ``"lstm"``, the public code's default.
        steps: Diffusion steps N.
    """

    def __init__(
        self,
        dim: int,
        *,
        lags: list[int],
        horizon: int,
        context: int,
        num_features: int,
        cell: str = "gru",
        steps: int = 100,
    ) -> None:
        super().__init__()
        self.dim, self.lags, self.horizon, self.context = dim, lags, horizon, context
        self.index = nn.Embedding(dim, 1)
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](
            dim * (len(lags) + 1) + num_features, CELLS, 2, dropout=0.1, batch_first=True
        )
        self.condition = nn.Linear(CELLS, COND_SIZE)
        self.chain = Chain(Network(dim), steps=steps)

    def scale(self, windows: Windows) -> Tensor:
        """Mean absolute value over the context; of all-zero dimensions the batch's mean, ``[B, 1, D]``."""
        first = max(self.lags)
        seen = windows.observed[:, first : first + self.context]
        size = (windows.target[:, first : first + self.context].abs() * seen).sum(1, keepdim=True)
        mean = size / seen.sum(dim=1, keepdim=True).clamp(min=1)
        of_batch = size.sum(dim=0) / seen.sum(dim=(0, 1)).clamp(min=1)
        return torch.where(size > 0, mean, of_batch).clamp(min=1e-10)

    def unroll(
        self,
        past: Tensor,
        features: Tensor,
        scale: Tensor,
        *,
        lags: list[int],
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """RNN outputs ``[B, T, 40]`` of steps with ``features [B, T, F]``, and the state after them.

        Args:
            past: ``[B, P, D]``, of which the step's input is found ``lags`` steps from the end.
            scale: ``[B, 1, D]``.
        """
        length, end = features.shape[1], past.shape[1]
        cut = torch.stack([past[:, end - lag - length : end - lag] for lag in lags], dim=-1)
        scaled = (cut / scale.unsqueeze(-1)).reshape(*cut.shape[:2], -1)  # [B, T, D * L]
        index = self.index(torch.arange(self.dim, device=past.device))
        index = index.reshape(1, 1, -1).expand(*cut.shape[:2], -1)
        return self.rnn(torch.cat([scaled, index, features], dim=-1), state)

    def loss(self, windows: Windows, n: Tensor, eps: Tensor) -> Tensor:
        """Mean squared error of the noise ``eps [R, 1, D]`` at the steps ``n [R]`` of context and horizon."""
        target, _, features = windows
        scale = self.scale(windows)
        out, _ = self.unroll(target, features, scale, lags=self.lags)
        x0 = (target[:, -features.shape[1] :] / scale).reshape(-1, 1, self.dim)
        return self.chain.loss(x0, self.condition(out).reshape(-1, 1, COND_SIZE), n, eps)

    @torch.no_grad()
    def sample(
        self, windows: Windows, *, paths: int, noise: Callable[[], Tensor] | None = None
    ) -> Tensor:
        """Sample paths ``[B, S, T, D]`` of windows without a future.

        Args:
            paths: S.
            noise: Gives the next standard normal tensor, ``[B * S, 1, D]``.
        """
        scale, context = self.scale(windows), windows.features[:, : self.context]
        _, state = self.unroll(windows.target, context, scale, lags=self.lags)
        past, features, scale = (
            x.repeat_interleave(paths, dim=0) for x in (windows.target, windows.features, scale)
        )
        if isinstance(state, tuple):
            state = (
                state[0].repeat_interleave(paths, dim=1),
                state[1].repeat_interleave(paths, dim=1),
            )
        else:
            state = state.repeat_interleave(paths, dim=1)
        noise = noise or (lambda: torch.randn(scale.shape, device=scale.device, dtype=scale.dtype))
        ahead = [lag - 1 for lag in self.lags]
        drawn = []
        for t in range(self.context, self.context + self.horizon):
            out, state = self.unroll(past, features[:, t : t + 1], scale, lags=ahead, state=state)
            x = self.chain.sample(self.condition(out), noise) * scale
            past = torch.cat([past, x], dim=1)
            drawn.append(x)
        return torch.cat(drawn, dim=1).unflatten(0, (-1, paths))


def training_step(model: Reference, optimizer: torch.optim.Optimizer, windows: Windows) -> float:
    """One step of the published training; its loss, which waits for the device as that code does."""
    rows, dim = windows.features.shape[0] * windows.features.shape[1], model.dim
    like = {"device": windows.target.device, "dtype": windows.target.dtype}
    n = torch.randint(0, model.chain.steps, (rows,), device=like["device"])
    loss = model.loss(windows, n, torch.randn(rows, 1, dim, **like))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def make_optimizer(model: Reference) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)


#: What names start with in a timediff TimeGrad with the options of the paper, and for the same weights here.
TIMEDIFF_NAMES = {
    "encoder.rnn.": "rnn.",
    "condition.": "condition.",
    "denoiser.level.0.": "chain.network.step.first.",
    "denoiser.level.2.": "chain.network.step.second.",
    "denoiser.condition.0.": "chain.network.conditioner.first.",
    "denoiser.condition.2.": "chain.network.conditioner.second.",
    "denoiser.": "chain.network.",
}


def load_timediff(model: Reference, state: Mapping[str, Tensor]) -> None:
    """Copies the weights of a timediff TimeGrad with the paper's options from its ``state_dict``.

    Raises:
        RuntimeError: They are not the weights of the same network.
    """
    renamed = {"index.weight": state["encoder.dimension"][:, None]}
    for name, value in state.items():
        for theirs, ours in TIMEDIFF_NAMES.items():
            if name.startswith(theirs):
                renamed[ours + name.removeprefix(theirs).replace(".level.", ".step.")] = value
                break
    model.load_state_dict(renamed)
