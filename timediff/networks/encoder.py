r"""The recurrent encoder: one vector :math:`h_t` of all that is known before a time step.

The input of step t is what is known just before it: the target at the lags ``t - l``, calendar features
of t, and one learned number per dimension. The state after the last known step is all that a forecast
needs of the past, besides the lags that still reach into it.

In a forecast, most of that input is the same for all paths of a window, or known before the first is drawn:
calendar, dimensions, and every lag that still reaches into the past. `Decoder` holds its share of the first
layer's gates, made once per window. What is left for each path is the product with the lags that reach into
the path itself, and the recurrence.

Source: Rasul et al. (2021), arXiv:2101.12072, section 3.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Decoder",
    "Encoder",
    "State",
    "gru_cell",
    "lagged",
    "lstm_cell",
    "map_state",
    "run_cells",
]

State = Tensor | tuple[Tensor, Tensor]


def lagged(series: Tensor, lags: list[int], *, length: int) -> Tensor:
    """The values ``lags`` steps before each of the last ``length`` steps, ``[B, length, D, L]``.

    Args:
        series: ``[B, P, D]`` with ``P >= length + max(lags)``; its last step is the last one asked about.
        lags: Positive numbers of steps.
    """
    end = series.shape[1]
    views = [series[:, end - length - lag : end - lag] for lag in lags]
    return torch.stack(views, dim=-1)  # [B, T, D, L]


def map_state(state: State, index: Tensor) -> State:
    """The recurrent state of the rows ``index``, which may repeat."""
    if isinstance(state, tuple):
        return state[0][:, index], state[1][:, index]
    return state[:, index]


class Encoder(nn.Module):
    """GRU or LSTM over time.

    Args:
        target_dim: D.
        num_lags: L.
        num_features: Calendar features F.
        cell: ``"gru"`` or ``"lstm"``.
        num_layers: Recurrent layers.
        hidden_size: H.
        dropout: Between recurrent layers, in training.
    """

    def __init__(
        self,
        target_dim: int,
        *,
        num_lags: int,
        num_features: int,
        cell: str,
        num_layers: int,
        hidden_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dimension = nn.Parameter(torch.randn(target_dim))
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](
            target_dim * (num_lags + 1) + num_features,
            hidden_size,
            num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            batch_first=True,
        )

    def forward(
        self, lags: Tensor, features: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Hidden states of consecutive steps and the state after the last.

        Args:
            lags: Scaled lagged targets, 0 where unobserved, ``[B, T, D, L]``.
            features: Calendar features, ``[B, T, F]``.
            state: State before the first step; zeros when left out.

        Returns:
            ``h [B, T, H]`` and the state.
        """
        dimension = self.dimension.expand(*lags.shape[:2], -1)
        return self.rnn(torch.cat([lags.flatten(2), dimension, features], dim=-1), state)

    def decoder(self, scaled: Tensor, features: Tensor, *, lags: list[int]) -> "Decoder":
        """The encoder prepared for the horizon of windows.

        Args:
            scaled: Scaled past, 0 where unobserved, ``[B, P, D]`` with ``P >= max(lags)``.
            features: Calendar features of the horizon, ``[B, T, F]``.
            lags: In steps, ascending.
        """
        rnn, (_, past, dim), horizon = self.rnn, scaled.shape, features.shape[1]
        of_lags, of_dimension, of_features = rnn.weight_ih_l0.split(
            [dim * len(lags), dim, features.shape[-1]], dim=1
        )
        lag_weights = (
            of_lags.unflatten(1, (dim, len(lags))).permute(2, 1, 0).contiguous()
        )  # [L, D, G]
        bias = rnn.bias_ih_l0 + of_dimension @ self.dimension
        # On two axes: for three, torch's choice of product, and so rounding, depends on more than the values.
        fixed = F.linear(features.flatten(0, 1), of_features, bias).unflatten(0, (-1, horizon))
        for lag, weight in zip(lags, lag_weights, strict=True):
            reach = min(lag, horizon)
            values = scaled[:, past - lag : past - lag + reach].flatten(0, 1)
            fixed[:, :reach] += (values @ weight).unflatten(0, (-1, reach))
        return Decoder(rnn, lags, lag_weights, fixed)


class Decoder(NamedTuple):
    """An encoder prepared for the horizon of some windows. G is 3 H for a GRU, 4 H for an LSTM.

    Attributes:
        rnn: The recurrent layers.
        lags: In steps, ascending.
        lag_weights: Input weights of each lag, ``[L, D, G]``.
        fixed: The part of the first layer's input gates that all paths share, ``[B, T, G]``.
    """

    rnn: nn.RNNBase
    lags: list[int]
    lag_weights: Tensor
    fixed: Tensor

    def step(self, rows: Tensor, paths: Tensor, state: State, t: int) -> tuple[Tensor, State]:
        """Hidden states ``[R, H]`` of step t and the state after it.

        Args:
            rows: The window of each path, ``[R]``.
            paths: Scaled values, of which the steps before t are drawn, ``[T, R, D]``.
            state: State before the step.
            t: Step of the horizon, from 0.
        """
        gates = self.fixed[rows, t]
        for lag, weight in zip(self.lags, self.lag_weights, strict=True):
            if lag <= t:
                gates = torch.addmm(gates, paths[t - lag], weight)
        return run_cells(self.rnn, gates, state)


def run_cells(rnn: nn.RNNBase, gates: Tensor, state: State) -> tuple[Tensor, State]:
    """Output and state after one step of all layers, as of torch's own modules in evaluation mode.

    Args:
        rnn: GRU or LSTM.
        gates: Input gates of the first layer, biases included, ``[R, G]``.
        state: State before the step, ``[layers, R, H]``, two of them for an LSTM.

    Returns:
        The last layer's output ``[R, H]`` and the state after the step.
    """
    cell = gru_cell if rnn.mode == "GRU" else lstm_cell
    states = [state] if isinstance(state, Tensor) else list(state)
    new_states: list[tuple[Tensor, ...]] = []  # of each layer
    h = gates
    for layer in range(rnn.num_layers):
        weight_ih, weight_hh, bias_ih, bias_hh = rnn.all_weights[layer]
        gates = h if layer == 0 else F.linear(h, weight_ih, bias_ih)
        of_layer = tuple(part[layer] for part in states)
        new_states.append(cell(gates, F.linear(of_layer[0], weight_hh, bias_hh), *of_layer))
        h = new_states[-1][0]
    parts = tuple(torch.stack(layers) for layers in zip(*new_states, strict=True))
    return h, parts[0] if len(parts) == 1 else (parts[0], parts[1])


def gru_cell(inputs: Tensor, recurrent: Tensor, h: Tensor) -> tuple[Tensor]:
    r"""Gated recurrent unit, ``[R, H]`` from gates ``[R, 3 H]`` in torch's order r, z, n.

    .. math:: n = \tanh(W_n x + r\, U_n h), \qquad h' = n + z\, (h - n)

    Source: Cho et al. (2014), arXiv:1406.1078, with the reset gate after the product, as in torch.
    """
    size = 2 * h.shape[-1]
    reset, update = (inputs[:, :size] + recurrent[:, :size]).sigmoid().chunk(2, dim=-1)
    new = torch.addcmul(inputs[:, size:], reset, recurrent[:, size:]).tanh()
    return (torch.lerp(new, h, update),)


def lstm_cell(inputs: Tensor, recurrent: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Long short-term memory, output and cell ``[R, H]`` from gates ``[R, 4 H]`` in torch's order i, f, g, o.

    Source: Hochreiter & Schmidhuber (1997), with the forget gate of Gers et al. (2000), as in torch.
    """
    enter, forget, value, leave = (inputs + recurrent).chunk(4, dim=-1)
    c = forget.sigmoid() * c + enter.sigmoid() * value.tanh()
    return leave.sigmoid() * c.tanh(), c
