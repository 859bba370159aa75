r"""A denoiser by attention over the dimensions, at a cost that grows with D and not with its square.

Every dimension is a token: its noised value times a learned vector, plus a learned embedding of the
dimension. Tokens do not look at each other but at M inducing points, which looked at all of them:

.. math:: H = \mathrm{Att}(I, X) \in \mathbb R^{M \times w}, \qquad X \leftarrow X + \mathrm{Att}(X, H)

Source: Lee et al. (2019), arXiv:1810.00825, induced set attention block (eqs. 9-10). Attention over the
dimensions is what CSDI's feature layer does at quadratic cost (Tashiro et al. 2021, arXiv:2107.03502).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timediff.diffusion.schedule import Level
from timediff.networks.base import DenoisingNetwork, Embedded, LevelWaves, Network

__all__ = ["HEAD", "POINTS", "RANK", "AttentionDenoiser"]

#: Inducing points of a block, M.
POINTS = 16
#: Numbers of a head of attention; a token whose size is no multiple of it has a single head.
HEAD = 16
#: Directions in which a condition moves the tokens of single dimensions.
RANK = 8


class AttentionDenoiser(DenoisingNetwork):
    r"""Blocks of induced attention and a perceptron on each token, with adaptive layer norm.

    The token of dimension d starts as :math:`x_d w + e_d + a + U\,(b \odot V e_d)`: its embedding
    :math:`e_d`, and a shift of low rank by :math:`a` and :math:`b`, read from the condition. All but the
    first term is prepared outside the sampling loop, as are the scales and shifts of the norms.

    Source: adaptive layer norm as in Peebles & Xie (2023), arXiv:2212.09748. Activations take some
    20 layers * width * D numbers per row in training, so that many dimensions want small batches.

    Args:
        target_dim: D.
        cond_size: C.
        layers: Blocks.
        width: Numbers of a token.
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
        self.inputs, self.width = inputs, width
        self.waves = LevelWaves()
        hidden = max(width, 64)
        # Per block scale and shift of both norms, and those of the last norm.
        self.level = nn.Sequential(
            nn.Linear(self.waves.size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width * (4 * layers + 2)),
        )
        # A shift per norm and one of the start for all tokens alike, and the start's low-rank part.
        self.condition = nn.Sequential(
            nn.Linear(cond_size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, width * (2 * layers + 1) + RANK),
        )
        self.names = nn.Parameter(torch.randn(target_dim, width))
        self.input = nn.Linear(inputs, width, bias=False)
        self.direction = nn.Linear(width, RANK, bias=False)
        self.moved = nn.Linear(RANK, width, bias=False)
        self.blocks = nn.ModuleList(_InducedBlock(width) for _ in range(layers))
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        nn.init.normal_(self.input.weight)
        # Tokens, their start, a normed copy, the perceptron's hidden layer twice, weights of attention.
        points = POINTS * _heads(width)
        self.floats_per_row = (8 * width + points) * target_dim + width * (6 * layers + 4 * POINTS)

    def embed_level(self, level: Level) -> Embedded:
        """Scale and shift of every norm in one, ``[..., (2 * layers + 1) * 2 * width]``."""
        return (self.level(self.waves(level)),)

    def under(self, cond: Tensor) -> Network:
        start, shifts = self._start(cond.reshape(-1, cond.shape[-1]))
        norms = 2 * len(self.blocks)

        def network(x: Tensor, embedded: Embedded) -> tuple[Tensor, ...]:
            values = x.reshape(-1, self.inputs, len(self.names)).transpose(1, 2)  # [R, D, inputs]
            level = embedded[0].reshape(-1, norms + 1, 2, self.width)  # one row may serve all
            tokens = self.input(values) + start  # [R, D, width]
            for i, block in enumerate(self.blocks):
                its_norms = slice(2 * i, 2 * i + 2)
                tokens = block(tokens, level[:, its_norms], shifts[:, its_norms])
            tokens = _normed(tokens, level[:, -1])
            return tuple(out.view(*x.shape[:-1], -1) for out in self.output(tokens).unbind(dim=-1))

        return network

    def _start(self, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens without the target's values ``[R, D, width]`` and shifts of the norms ``[R, .., width]``."""
        sizes = [RANK, self.width, 2 * len(self.blocks) * self.width]
        strength, start, shifts = self.condition(cond).split(sizes, dim=-1)
        low_rank = self.moved(self.direction(self.names) * strength[:, None])  # [R, D, width]
        return low_rank + start[:, None] + self.names, shifts.unflatten(-1, (-1, self.width))


class _InducedBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = _heads(width)
        self.points = nn.Parameter(torch.randn(POINTS, width))
        self.gathered = nn.Linear(width, 2 * width)  # keys and values of the tokens
        self.query = nn.Linear(width, width)
        self.handed = nn.Linear(width, 2 * width)  # keys and values of the points' summaries
        self.found = nn.Linear(width, width)
        self.first = nn.Linear(width, 2 * width)
        self.second = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, level: Tensor, shifts: Tensor) -> Tensor:
        """The next tokens ``[R, D, width]``.

        Args:
            tokens: ``[R, D, width]``.
            level: Scale and shift of both norms, ``[R or 1, 2, 2, width]``.
            shifts: Shift of both norms by the condition, ``[R or 1, 2, width]``.
        """
        y = _normed(tokens, level[:, 0], shifts[:, 0])
        points = self.points.expand(y.shape[0], -1, -1)
        summary = points + self._attend(points, self.gathered(y))  # [R, M, width]
        tokens = tokens + self.found(self._attend(self.query(y), self.handed(summary)))
        y = _normed(tokens, level[:, 1], shifts[:, 1])
        return tokens + self.second(F.silu(self.first(y)))

    def _attend(self, queries: Tensor, keys_and_values: Tensor) -> Tensor:
        parts = (queries, *keys_and_values.chunk(2, dim=-1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _heads(width: int) -> int:
    return width // HEAD if width % HEAD == 0 else 1


def _normed(tokens: Tensor, level: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    scale, bias = level.unbind(dim=1)  # [R or 1, width]
    normed = F.layer_norm(tokens, tokens.shape[-1:])
    return torch.addcmul((bias + shift)[:, None], normed, (1 + scale)[:, None])
