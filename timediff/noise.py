"""Random numbers for sampling: every path has its own, however many are drawn at a time."""

import torch
from torch import Tensor

#: Paths that share one stream of random numbers. Streams are what chunks are made of, so the paths of
#: a seed do not depend on how many are drawn at a time.
PATHS_PER_STREAM = 20
#: Noise tensors that a stream draws at a time.
NOISE_BLOCK = 16


class NoiseStreams:
    """Standard normal noise for a chunk of paths: a generator for every `PATHS_PER_STREAM` of them.

    Args:
        keys: Seed and number of each stream.
        like: ``[..., D]``, of the dimension, dtype and device wanted.
    """

    def __init__(self, keys: list[tuple[int, int]], *, like: Tensor) -> None:
        self.like, self.next = like, NOISE_BLOCK
        self.generators = []
        for seed, block in keys:
            generator = torch.Generator(device=like.device)
            generator.manual_seed((seed * 1_000_003 + block) % 2**63)
            self.generators.append(generator)

    def __call__(self) -> Tensor:
        """The next noise of every path, ``[R, D]``."""
        if self.next == NOISE_BLOCK:
            size = (NOISE_BLOCK, len(self.generators), PATHS_PER_STREAM, self.like.shape[-1])
            self.block, self.next = self.like.new_empty(size), 0
            for i, generator in enumerate(self.generators):
                own = self.like.new_empty(NOISE_BLOCK, *size[2:]).normal_(generator=generator)
                self.block[:, i] = own
        noise = self.block[self.next].flatten(0, 1)
        self.next += 1
        return noise
