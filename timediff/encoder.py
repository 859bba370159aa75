r"""The recurrent encoder: what is known before a time step becomes one vector :math:`h_t`.

The input of step t is what is known just before it: the target at the lags ``t - l``, calendar features
of t, and one learned number per dimension. The state after the last known step is all that a forecast
needs of the past, besides the lags that still reach into it.

Source: Rasul et al. (2021), arXiv:2101.12072, section 3.
"""

import torch
from torch import Tensor, nn

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
