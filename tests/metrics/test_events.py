"""Scores of events of a path: by hand, by loops, and what only the order of steps within a path changes."""

import numpy as np
import pytest
from groups import contracts, identities, invariances, oracles

from timediff import metrics
from timediff.errors import InputError

NAMES = ("crps_peak", "brier_calm", "newsvendor_cost_peak")


def series(rng, *shape, steps=24):
    """Sums of two series that wander, so that steps of a path belong together."""
    moves = rng.normal(size=(*shape, steps, 2)) * [1.0, 0.5]
    return 20 + np.cumsum(moves, axis=-2)


@oracles
def test_a_case_by_hand():
    """Two paths of two series against one truth; the sums are 3 4 5, 1 1 9 and 2 6 4."""
    paths = np.array([[[1, 2], [2, 2], [4, 1]], [[0, 1], [1, 0], [5, 4]]], dtype=float)[None]
    truth = np.array([[1, 1], [3, 3], [2, 2]], dtype=float)[None]
    highest, reached = metrics.peaks(paths, truth)
    assert highest.tolist() == [[5, 9]] and reached.tolist() == [6]
    # CRPS of {5, 9} at 6: (1 + 3) / 2 - 4 / 4
    assert metrics.score(paths, truth)["crps_peak"] == pytest.approx(1 / 6)
    calm, was_calm = metrics.runs_below(paths, truth, threshold=4, steps=2)
    assert calm.tolist() == [[1, 1]] and was_calm.tolist() == [0]
    calm, was_calm = metrics.runs_below(paths, truth, threshold=1, steps=2)
    assert calm.tolist() == [[0, 1]] and was_calm.tolist() == [0]
    assert metrics.runs_below(paths, truth, threshold=99, steps=4)[0].tolist() == [[0, 0]]


@identities
def test_runs_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    paths, truth = series(rng, 4, 30), series(rng, 4)
    truth[rng.random(truth.shape[:-1]) < 0.2] = np.nan
    found, was = metrics.runs_below(paths, truth, threshold=39.0, steps=3)

    def run(values):
        row = 0
        for value in values:
            row = row + 1 if value <= 39.0 else 0
            if row == 3:
                return 1
        return 0

    for window in range(4):
        total = truth[window].sum(axis=-1)
        assert was[window] == run(total)
        for path in range(30):
            sums = np.where(np.isnan(total), np.nan, paths[window, path].sum(axis=-1))
            assert found[window, path] == run(sums)
    assert 0 < found.mean() < 1


@invariances
def test_only_events_see_the_order_of_paths_at_each_step():
    """Paths that are shuffled anew at each step keep every score of steps, and lose those of events."""
    rng = np.random.default_rng(2)
    truth, paths = series(rng, 200), series(rng, 200, 60)
    torn = rng.permuted(paths.sum(axis=-1, keepdims=True), axis=1)
    whole = metrics.score(paths.sum(axis=-1, keepdims=True), truth.sum(axis=-1, keepdims=True))
    apart = metrics.score(torn, truth.sum(axis=-1, keepdims=True))
    for name in ("crps", "energy_score", "coverage_90", "newsvendor_cost_sum"):
        assert apart[name] == pytest.approx(whole[name], rel=1e-9)
    for name in NAMES:
        assert apart[name] > 1.03 * whole[name], name


@oracles
def test_the_true_distribution_scores_best():
    rng = np.random.default_rng(3)
    truth, paths = series(rng, 400), series(rng, 400, 60)
    mean = paths.mean(axis=1, keepdims=True)
    best = metrics.score(paths, truth)
    for factor in (0.5, 1.6):
        other = metrics.score(mean + factor * (paths - mean), truth)
        assert all(other[name] > best[name] for name in NAMES), factor


@invariances
def test_events_do_not_depend_on_unit_or_order_of_series():
    rng = np.random.default_rng(4)
    truth, paths = series(rng, 20), series(rng, 20, 30)
    first = metrics.score(paths, truth)
    for other in (
        metrics.score(3 * paths, 3 * truth),
        metrics.score(paths[..., ::-1], truth[..., ::-1]),
    ):
        assert [other[name] for name in NAMES] == pytest.approx([first[name] for name in NAMES])


@contracts
def test_wrong_input_of_events_is_one_sentence():
    paths, truth = np.zeros((2, 3, 4, 1)), np.zeros((2, 4, 1))
    for bad in (
        lambda: metrics.runs_below(paths, truth, threshold=0.0, steps=0),
        lambda: metrics.peaks(paths, truth[:1]),
    ):
        with pytest.raises(InputError) as caught:
            bad()
        assert "\n" not in str(caught.value)
