"""Fracast-0: margins between its quantiles, and what it is not shown."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from timediff.baselines import BASELINES, Task, chosen, copula
from timediff.baselines.foundation import between

LEVELS = np.arange(1, 10) / 10
installed = pytest.mark.skipif(find_spec("fracast") is None, reason="fracast is not installed")


def task_of(full, *, ends, horizon=4):
    start = pd.Period("2020-01-06", freq="h")
    return Task(
        train=full[: min(ends)],
        histories=[full[:end] for end in ends],
        gaps=[end - min(ends) for end in ends],
        horizon=horizon,
        freq="h",
        starts=[start + end for end in ends],
        seasons=[6],
        columns=[f"series {d}" for d in range(full.shape[1])],
    )


def waves(steps, dim):
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * (np.arange(steps)[:, None] + np.arange(dim)) / 6)
    return 3 + wave + 0.3 * rng.normal(size=(steps, dim))


def test_quantiles_of_a_normal_distribution_are_continued_as_one():
    asked = np.array([[1e-4, 0.05, 0.1, 0.33, 0.5, 0.9, 0.99, 1 - 1e-4]])
    found = between(2 + 3 * ndtri(LEVELS)[None], LEVELS, asked)
    np.testing.assert_allclose(found, 2 + 3 * ndtri(asked))


def test_values_between_quantiles_meet_them_and_never_fall():
    rng = np.random.default_rng(1)
    quantiles = rng.normal(size=(4, 3, 9))  # they cross
    at = np.broadcast_to(LEVELS, quantiles.shape)
    np.testing.assert_allclose(between(quantiles, LEVELS, at), np.sort(quantiles, axis=-1))
    fine = np.broadcast_to(np.linspace(0.001, 0.999, 200), (4, 3, 200))
    assert (np.diff(between(quantiles, LEVELS, fine), axis=-1) > -1e-12).all()


def test_values_of_quantiles_that_agree_are_their_value():
    np.testing.assert_array_equal(between(np.full((2, 9), 4.0), LEVELS, np.full((2, 5), 0.999)), 4)


def test_it_is_left_out_with_its_extra_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("timediff.baselines.base.find_spec", lambda package: None)
    names, left_out = chosen("all")
    assert "fracast" not in names and "extra [zero-shot]" in left_out["fracast"]
    assert "fracast" not in chosen("fast")[0]


@installed
def test_same_seed_same_paths_and_gaps_are_bridged(monkeypatch):
    monkeypatch.setattr(copula, "ORIGINS", 3)
    full = waves(230, 4)
    full[100:120, 0] = np.nan
    full[:, 1] = 4.0
    full[:, 2] = np.nan
    full[3:7, 2] = 2.0
    task = task_of(full, ends=[200, 210], horizon=50)  # more than its 48 steps
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        BASELINES["fracast"].forecast(task, num_samples=6, seed=seed, progress=False)
        for seed in (3, 3, 4)
    )
    assert first.shape == (2, 6, 50, 4) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_allclose(first[..., 1], 4, atol=1e-3)
    np.testing.assert_array_equal(first[..., 2], 2)  # too little to show
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@installed
def test_it_continues_a_wave_and_joins_its_margins():
    task = task_of(waves(400, 2), ends=[390])
    alone = BASELINES["fracast"].fit(task, seed=1, progress=False)
    joint = BASELINES["fracast"].prepare(task, seed=1, progress=False, margins=alone)
    margins, paths = (
        one.paths(task, num_samples=40, seed=2, progress=False) for one in (alone, joint)
    )
    np.testing.assert_array_equal(np.sort(margins, axis=1), np.sort(paths, axis=1))
    wave = 3 + np.sin(2 * np.pi * (np.arange(390, 394)[:, None] + np.arange(2)) / 6)
    assert np.abs(np.median(paths[0], axis=0) - wave).max() < 0.5
