"""Random numbers for sampling: every path has its own, however many are drawn at a time."""

import torch
from torch import Tensor

from timediff.registry import NOISES

__all__ = [
    "NUMBERS_AT_A_TIME",
    "PATHS_PER_STREAM",
    "STEPS_AT_A_TIME",
    "NoiseStreams",
    "antithetic",
    "independent",
    "steps_at_a_time",
    "stratified",
]

#: Paths that share one stream of random numbers. Streams are what chunks are made of, so the noise of
#: a seed does not depend on how many are drawn at a time.
PATHS_PER_STREAM = 10
#: Numbers that a stream draws at a time, and most steps they may serve: few are slow, many take memory.
NUMBERS_AT_A_TIME, STEPS_AT_A_TIME = 8192, 16


def independent(out: Tensor, generator: torch.Generator) -> None:
    """Standard normal noise ``[..., P, D]``."""
    out.normal_(generator=generator)


def antithetic(out: Tensor, generator: torch.Generator) -> None:
    """Standard normal noise ``[..., P, D]`` in pairs, the second path of each the first one's negative.

    What is odd in the noise, like the error of a mean of nearly linear paths, cancels; what is even, like
    that of a spread, has half as many draws.
    Source: Hammersley & Morton (1956), Mathematical Proceedings of the Cambridge Philosophical Society 52.
    """
    half = torch.empty_like(out[..., ::2, :]).normal_(generator=generator)
    out[..., ::2, :] = half
    out[..., 1::2, :] = -half


def stratified(out: Tensor, generator: torch.Generator) -> None:
    r"""Standard normal noise ``[..., P, D]``, in every coordinate one path in each of P equal shares.

    .. math:: z_p = \Phi^{-1}\Big(\frac{\pi(p) + u_p}{P}\Big)

    with a random permutation for each coordinate: a Latin hypercube, the simplest randomised quasi-Monte
    Carlo rule, and one that does not suffer from the thousands of coordinates of a forecast. Each path is
    standard normal by itself. Sources: McKay, Beckman & Conover (1979), Technometrics 21; Stein (1987),
    Technometrics 29.
    """
    u = out.new_empty(2, *out.shape).uniform_(generator=generator)
    share = (u[0].argsort(dim=-2) + u[1]) / out.shape[-2]
    # Strictly inside (0, 1), where the inverse is finite.
    tiny = torch.finfo(out.dtype).eps / 4
    torch.special.ndtri(share.clamp(tiny, 1 - 2 * tiny), out=out)


class NoiseStreams:
    """Standard normal noise for a chunk of paths: a generator for every `PATHS_PER_STREAM` of them.

    Args:
        keys: Seed and number of each stream.
        like: ``[..., D]``, of the dimension, dtype and device wanted.
        kind: One of `NOISES`.
    """

    def __init__(
        self,
        keys: list[tuple[int, int]],
        *,
        like: Tensor,
        kind: str = "independent",
    ) -> None:
        self.fill = NOISES[kind]
        self.generators = []
        for seed, block in keys:
            generator = torch.Generator(device=like.device)
            generator.manual_seed((seed * 1_000_003 + block) % 2**63)
            self.generators.append(generator)
        self.steps = self.next = steps_at_a_time(like.shape[-1])
        self.block = like.new_empty(len(keys), self.steps, PATHS_PER_STREAM, like.shape[-1])

    def __call__(self) -> Tensor:
        """The next noise of every path, ``[R, D]``, good until the next call."""
        if self.next == self.steps:
            for own, generator in zip(self.block, self.generators, strict=True):
                self.fill(own, generator)
            self.next = 0
        noise = self.block[:, self.next].flatten(0, 1)
        self.next += 1
        return noise


def steps_at_a_time(dim: int) -> int:
    """How many noise tensors of a stream are drawn together."""
    wanted = -(-NUMBERS_AT_A_TIME // (PATHS_PER_STREAM * dim))
    return min(STEPS_AT_A_TIME, wanted)
