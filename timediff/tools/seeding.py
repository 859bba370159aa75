"""The global generators, which code that is not ours draws from, lent to one seed at a time.

Dropout within torch's recurrent layers and the initial weights of its modules are drawn from a global
generator and no other, so that what is to follow a seed of its own has to borrow it. Whoever does holds one
lock: threads that train side by side have each the numbers that they would have alone.
"""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["Stream", "drawn_seed", "one_at_a_time", "seeded"]

#: Held by the thread that has the global generators.
_lent = threading.RLock()


def _renew() -> None:
    global _lent
    _lent = threading.RLock()


# A forked child has only the thread that forked: a lock that another one held would never be free.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of torch, numpy and Python seeded inside, and left as they were."""
    with _lent:
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            try:
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """What is inside is done by one thread at a time, which may lend the global generators to itself."""
    with _lent:
        yield


def drawn_seed() -> int:
    """A seed from torch's global generator, for a user who gave none."""
    with _lent:
        return int(torch.randint(2**31, ()))


class Stream:
    """Random numbers of one training: the state of torch's generators, which go on where they were left.

    Threads of the user that draw from torch's global generator without `lent` may still disturb it.
    """

    def __init__(self) -> None:
        self.states: list[torch.Tensor] = []

    @contextmanager
    def lent(self, device: torch.device, *, seed: int | None = None) -> Iterator[None]:
        """Torch's global generators with this state inside, and as they were outside.

        Args:
            device: Whose generator is lent, beside that of the CPU.
            seed: To begin anew from; the first time without one, they begin as they are.
        """
        modules = [torch.random]
        if device.type != "cpu":
            modules.append(getattr(torch, device.type))
        with _lent:
            before = [module.get_rng_state() for module in modules]
            try:
                for module, state in zip(modules, self.states, strict=False):
                    module.set_rng_state(state)
                if seed is not None:
                    torch.default_generator.manual_seed(seed)
                    for module in modules[1:]:
                        module.manual_seed(seed)
                yield
                self.states = [module.get_rng_state() for module in modules]
            finally:
                for module, state in zip(modules, before, strict=True):
                    module.set_rng_state(state)
