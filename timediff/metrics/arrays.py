"""What every score shares: checks of its input, and ways through it in blocks of bounded memory.

A score of single entries is a function of ``ordered [..., S]``, the paths at each entry in ascending
order, and ``truth [...]`` (`by_entry`). A score of whole vectors is a function of ``x [S, D]`` and
``y [D]`` at one step, where D counts the observed dimensions only (`by_step`): no such function has to
know about gaps.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from timediff.errors import InputError
from timediff.tools.numbers import plain_array

__all__ = [
    "BLOCK",
    "Array",
    "Floats",
    "Sums",
    "add",
    "by_entry",
    "by_step",
    "check_level",
    "check_members",
    "check_windows",
    "checked",
    "checked_windows",
    "entry_blocks",
    "flat",
    "floats",
    "observed_steps",
    "ratio",
]

Array = NDArray[np.float64]
Floats = NDArray[np.floating]
#: Sums over entries, steps or windows; those of reliability are arrays, one number for each level.
Sums = dict[str, Array]

#: Values of paths in a block, if one step has fewer: small enough for a processor's cache.
BLOCK = 2**19


def checked(paths: ArrayLike, truth: ArrayLike) -> tuple[Floats, Array]:
    """Paths ``[..., S, T, D]`` in their own precision and truth ``[..., T, D]`` in float64.

    Raises:
        InputError: If the shapes do not agree, a path is not finite or a truth is infinite.
    """
    paths, truth = floats(paths), floats(truth, "truth").astype(np.float64, copy=False)
    expected = truth.shape[:-2] + paths.shape[-3:-2] + truth.shape[-2:]
    if paths.ndim < 3 or paths.shape != expected or paths.size == 0:
        raise InputError(
            "scores need paths [..., S, T, D] and truth [..., T, D] that agree in windows, steps and "
            f"dimensions and are not empty, but their shapes are {paths.shape} and {truth.shape}"
        )
    # The extremes are NaN if anything is, and need no memory.
    if not (np.isfinite(paths.min()) and np.isfinite(paths.max())):
        raise InputError(
            "the forecast paths contain NaN or infinity and cannot be scored: find out where the "
            "model or its sampling diverged"
        )
    if np.isinf(truth).any():
        raise InputError("the truth contains infinity: mark missing values as NaN")
    return paths, truth


def checked_windows(paths: ArrayLike, truth: ArrayLike) -> tuple[Floats, Array]:
    """Paths ``[W, S, T, D]`` and truth ``[W, T, D]`` as in `checked`, of which something was observed."""
    check_windows(paths, truth, "a score")
    paths, truth = checked(paths, truth)
    if np.isnan(truth).all():
        raise InputError(
            "every value of the truth is missing: score windows in which something was observed"
        )
    return paths, truth


def check_windows(paths: ArrayLike, truth: ArrayLike, what: str) -> None:
    """Raises `InputError` unless shapes are ``[W, S, T, D]`` and ``[W, T, D]`` that agree, none of them 0."""
    of_paths, of_truth = np.shape(paths), np.shape(truth)
    agree = len(of_paths) == 4 and of_paths[:1] + of_paths[2:] == of_truth
    if not agree or 0 in of_paths:
        raise InputError(
            f"{what} needs paths [W, S, T, D] and truth [W, T, D] that agree in windows, steps and series "
            f"and are not empty, but their shapes are {of_paths} and {of_truth}"
        )


def floats(values: ArrayLike, what: str = "forecast paths") -> Floats:
    array = plain_array(values, f"the array of {what}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def check_level(level: float) -> None:
    if not 0 < level <= 1:
        raise InputError(
            f"the level of an interval is a share above 0 and up to 1, but it is {level}: "
            "write 0.9 for 90 %"
        )


def check_members(paths: Floats, least: int, what: str) -> None:
    if paths.shape[-3] < least:
        raise InputError(
            f"{what} needs at least {least} sample paths, but there are {paths.shape[-3]}: draw more"
        )


def entry_blocks(paths: Floats, truth: Array) -> Iterator[tuple[Any, Array, Array]]:
    """Blocks: windows and steps of each, its ordered paths ``[w, t, D, S]`` and its truth ``[w, t, D]``.

    Args:
        paths: ``[W, S, T, D]``.
        truth: ``[W, T, D]``.
    """
    windows, members, steps, dims = paths.shape
    t = min(max(BLOCK // (members * dims), 1), steps)
    w = min(max(BLOCK // (members * dims * t), 1), windows)
    for first in range(0, windows, w):
        for step in range(0, steps, t):
            where = np.s_[first : first + w, step : step + t]
            block = paths[first : first + w, :, step : step + t]
            ordered = np.array(np.moveaxis(block, 1, -1), dtype=np.float64, order="C")
            ordered.sort(axis=-1)
            yield where, ordered, truth[where]


def by_entry(
    function: Callable[..., Array], paths: ArrayLike, truth: ArrayLike, *others: ArrayLike
) -> Array:
    """Values of ``function(ordered [..., S], truth [...], *others [...]) -> [...]`` at every entry.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.
        others: Further arguments that can be broadcast to the truth.
    """
    paths, truth = checked(paths, truth)
    flat_paths, flat_truth = flat(paths, truth)
    extra = [np.broadcast_to(other, truth.shape).reshape(flat_truth.shape) for other in others]
    out = np.empty_like(flat_truth)
    for where, ordered, block_truth in entry_blocks(flat_paths, flat_truth):
        values = function(ordered, block_truth, *(other[where] for other in extra))
        out[where] = np.where(np.isnan(block_truth), np.nan, values)
    return out.reshape(truth.shape)


def observed_steps(
    paths: Floats, truth: Array
) -> Iterator[tuple[int, NDArray[np.bool_], Array, Array]]:
    """Steps of one window at which something was observed, with what was.

    Args:
        paths: ``[S, T, D]``.
        truth: ``[T, D]``.

    Returns:
        The step, which dimensions were observed ``[D]``, and of these the paths ``[S, d]`` and the truth
        ``[d]``.
    """
    observed = ~np.isnan(truth)
    for step in np.flatnonzero(observed.any(axis=-1)):
        dims = observed[step]
        x = paths[:, step] if dims.all() else paths[:, step, dims]
        yield int(step), dims, np.array(x, dtype=np.float64, order="C"), truth[step, dims]


def by_step(function: Callable[[Array, Array], float], paths: ArrayLike, truth: ArrayLike) -> Array:
    """Values of ``function(x [S, d], y [d])`` at every step, over the d dimensions observed there.

    Args:
        paths: Sample paths, ``[..., S, T, D]``.
        truth: What happened, ``[..., T, D]``.

    Returns:
        ``[..., T]``, NaN for steps of which nothing was observed.
    """
    paths, truth = checked(paths, truth)
    flat_paths, flat_truth = flat(paths, truth)
    out = np.full(flat_truth.shape[:2], np.nan)
    for window, of_window in enumerate(zip(flat_paths, flat_truth, strict=True)):
        for step, _, x, y in observed_steps(*of_window):
            out[window, step] = function(x, y)
    return out.reshape(truth.shape[:-1])


def flat(paths: Floats, truth: Array) -> tuple[Floats, Array]:
    """Paths and truth with all leading axes as one: ``[W, S, T, D]`` and ``[W, T, D]``."""
    return paths.reshape(-1, *paths.shape[-3:]), truth.reshape(-1, *truth.shape[-2:])


def add(sums: Sums, more: Sums) -> None:
    """Adds to sums by name, in place."""
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")
