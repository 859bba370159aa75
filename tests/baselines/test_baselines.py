"""Random walk and seasonal naive: what a path is made of, what they may see, and what they score."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tasks

from timediff.baselines import BASELINES, Task, seasonal_naive
from timediff.baselines.task import held_out
from timediff.errors import InputError
from timediff.metrics import score

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def walk(steps=400, dimensions=3, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, dimensions)).cumsum(0)


def paths_of(history, train, *, season, horizon, num_samples=50, seed=1, **options):
    rng = np.random.default_rng(seed)
    return seasonal_naive(
        history,
        train,
        season=season,
        horizon=horizon,
        num_samples=num_samples,
        rng=rng,
        **options,
    )


def test_a_periodic_series_is_continued_exactly():
    season = 7
    series = np.random.default_rng(2).normal(size=(season, 2))
    full = np.tile(series, (12, 1))
    paths = paths_of(full[:60], full[:50], season=season, horizon=20)
    np.testing.assert_allclose(paths, np.broadcast_to(full[60:80], paths.shape), atol=1e-12)


@pytest.mark.parametrize("season, horizon", [(6, 4), (6, 6), (6, 15)])
def test_each_path_adds_one_contiguous_block_of_joint_differences(season, horizon):
    full = walk()
    history, train = full[:300], full[:280]
    paths = paths_of(history, train, season=season, horizon=horizon)
    differences = train[season:] - train[:-season]
    blocks = np.lib.stride_tricks.sliding_window_view(differences, horizon, axis=0)
    blocks = blocks.transpose(0, 2, 1)  # [starts, horizon, D]
    for path in paths:
        # Undo the accumulation: the step one season before, from the history or the path itself.
        before = np.concatenate([history[-season:], path])[:horizon]
        distance = np.abs(path - before - blocks).max(axis=(1, 2))
        assert distance.min() < 1e-9


def test_random_walk_blocks_are_freed_of_the_drift():
    # A pure drift has no differences left: the random walk stays at the last value.
    line = np.arange(100.0)[:, None] * [1.0, -2.0]
    paths = paths_of(line, line, season=1, horizon=5)
    np.testing.assert_allclose(paths, np.broadcast_to(line[-1], paths.shape), atol=1e-9)


def test_random_walk_spread_grows_like_the_root_of_time():
    rng = np.random.default_rng(3)
    train = rng.normal(size=(40_000, 1)).cumsum(0)
    paths = paths_of(train, train, season=1, horizon=16, num_samples=4000)
    deviation = (paths[..., 0] - train[-1, 0]).std(axis=0)
    expected = np.sqrt(np.arange(1, 17))
    # A deviation of n draws has relative s.e. 1 / sqrt(2 n); as the blocks overlap, 4000 of them
    # count as 1 / (1 / 4000 + 2 * 16 / (3 * 40_000)) = 1900 independent ones at the last step.
    assert (np.abs(deviation / expected - 1) < 5 / np.sqrt(2 * 1900)).all()


def test_series_keep_their_dependence():
    train = walk(dimensions=1)
    both = np.concatenate([train, 5 - 2 * train], axis=1)
    paths = paths_of(both, both, season=4, horizon=6)
    np.testing.assert_allclose(paths[..., 1], 5 - 2 * paths[..., 0], atol=1e-9)


@pytest.mark.parametrize("gap", [0, 12, 17])
def test_blocks_start_at_the_forecasts_position_in_the_cycle(gap):
    # Nights (the first half of a cycle) are 0 throughout: aligned blocks keep them 0.
    cycle = 12
    rng = np.random.default_rng(4)
    day = np.tile(np.arange(cycle) >= 6, 40)[:, None]
    full = day * rng.gamma(2.0, size=(len(day), 2))
    end = 300
    horizon = 18
    paths = paths_of(
        full[: end + gap], full[:end], season=cycle, horizon=horizon, cycle=cycle, gap=gap
    )
    night = ~day[end + gap : end + gap + horizon, 0]
    assert (paths[:, night] == 0).all() and paths[:, ~night].std() > 0.1


def test_blocks_repeat_only_after_all_were_used():
    train = walk(steps=30)
    horizon, season = 5, 5
    starts = 30 - season - horizon + 1
    paths = paths_of(train, train, season=season, horizon=horizon, num_samples=2 * starts)
    _, counts = np.unique(paths.round(9), axis=0, return_counts=True)
    assert (counts == 2).all() and len(counts) == starts


def test_missing_values_hold_the_last_one_of_their_position():
    season = 3
    history = np.array([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [np.nan], [9.0]])
    train = np.ones((20, 1))
    paths = paths_of(history, train, season=season, horizon=3, num_samples=2)
    np.testing.assert_array_equal(paths[0, :, 0], [7, 5, 9])
    history[[1, 4], 0] = np.nan  # that position was never seen: the series' last value instead
    paths = paths_of(history, train, season=season, horizon=3, num_samples=2)
    np.testing.assert_array_equal(paths[0, :, 0], [7, 9, 9])


def test_missing_short_and_constant_series_get_finite_paths():
    train = walk()
    train[::3, 0] = np.nan
    train[:, 1] = np.nan
    train[:, 2] = 4.0
    for season in (1, 24):
        paths = paths_of(train[-10:], train, season=season, horizon=30)
        assert np.isfinite(paths).all()
        assert (paths[..., 1] == 0).all() and (paths[..., 2] == 4).all()
        assert paths[..., 0].std() > 0


def test_float32_stays_float32_and_integers_become_floats():
    train = walk().astype(np.float32)
    assert paths_of(train, train, season=4, horizon=3).dtype == np.float32
    assert paths_of(train.astype(int), train.astype(int), season=4, horizon=3).dtype == np.float64


def seasonal(steps, season, *, seed=5, noise=0.1):
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=(season, 2))
    return shape[np.arange(steps) % season] + noise * rng.normal(size=(steps, 2))


task_of = partial(tasks.task_of, horizon=5, seasons=(4, 7), start=pd.Period("2020-01-01", freq="h"))


def forecast(name, task, *, num_samples=30, seed=0):
    return BASELINES[name].forecast(task, num_samples=num_samples, seed=seed, progress=False)


def test_the_season_that_fits_the_end_of_the_training_data_is_chosen():
    fitted = BASELINES["seasonal_naive"].prepare(
        task_of(seasonal(305, 6), ends=[300], seasons=(1, 6)), seed=0, progress=False
    )
    scores = fitted.details["mean_wquantile_loss_sum_by_season"]
    assert fitted.details["season"] == 6 and scores["6"] < scores["1"]
    wandering = task_of(walk(305), ends=[300], seasons=(1, 100))
    fitted = BASELINES["seasonal_naive"].prepare(wandering, seed=0, progress=False)
    assert fitted.details["season"] == 1


@pytest.mark.parametrize("ends", [[300, 318, 336], [307, 325], [336, 300], [288]])
@pytest.mark.parametrize("name", ["seasonal_naive", "climatology"])
def test_windows_keep_their_position_in_the_cycle(name, ends):
    # As above, nights are 0; the horizon of 18 is no multiple of the cycle of 12.
    day = np.tile(np.arange(12) >= 6, 40)[:, None]
    full = day * np.random.default_rng(6).gamma(2.0, size=(len(day), 2))
    task = task_of(
        full, ends=ends, train=300 if max(ends) > 300 else 288, horizon=18, seasons=(12,)
    )
    for end, window in zip(ends, forecast(name, task), strict=True):
        assert (window[:, ~day[end : end + 18, 0]] == 0).all()
        assert window[:, day[end : end + 18, 0]].std() > 0.1


def test_windows_draw_their_own_blocks():
    full = seasonal(300, 4)
    paths = forecast("random_walk", task_of(full, ends=[300, 300]))
    assert (np.sort(paths[0, :, -1], axis=0) != np.sort(paths[1, :, -1], axis=0)).any()


def test_the_last_blocks_are_the_last():
    full = np.concatenate([np.random.default_rng(0).normal(size=(300, 2)), np.zeros((200, 2))])
    paths = forecast("random_walk_recent", task_of(full, ends=[500], seasons=(1,)))
    assert np.abs(paths).max() < 0.1  # the mean of all differences, over the horizon
    assert forecast("random_walk", task_of(full, ends=[500], seasons=(1,))).std() > 0.1


def test_a_short_training_series_falls_back_to_the_random_walk():
    task = task_of(seasonal(9, 4), ends=[9], horizon=5, seasons=(24, 168))
    fitted = BASELINES["seasonal_naive"].prepare(task, seed=0, progress=False)
    assert fitted.details["season"] == 1
    assert np.isfinite(fitted.paths(task, num_samples=20, seed=0, progress=False)).all()


def test_choices_are_made_within_the_training_data():
    full = seasonal(300, 4)
    task = task_of(full, ends=[250, 255], horizon=5)
    inner, truth = held_out(task)
    for history, gap, start, one in zip(*inner[1:3], inner.starts, truth, strict=True):
        end = len(history)
        assert end + 5 <= 250 and gap == end - len(inner.train)
        np.testing.assert_array_equal(history, full[:end])
        np.testing.assert_array_equal(one, full[end : end + 5])
        assert start == pd.Period("2020-01-01", freq="h") + end
    assert len(inner.train) >= 125


def test_wrong_input_is_refused():
    train = walk(20)
    for bad in (
        lambda: paths_of(train, train, season=10, horizon=11),
        lambda: paths_of(train[:0], train, season=1, horizon=2),
        lambda: paths_of(train, train[:, :2], season=1, horizon=2),
        lambda: paths_of(train, train, season=0, horizon=2),
        lambda: paths_of(train, train, season=2, horizon=2, num_samples=0),
        lambda: forecast("random_walk", task_of(train[:6], ends=[6])),
        lambda: forecast("random_walk", task_of(train, ends=[20], seasons=())),
        lambda: forecast("random_walk", task_of(train, ends=[20], seasons=(0, 4))),
        lambda: forecast("random_walk", task_of(train, ends=[20], horizon=0)),
        lambda: forecast("random_walk", task_of(train, ends=[20])._replace(gaps=[])),
        lambda: forecast("random_walk", task_of(train, ends=[20])._replace(histories=[train[:0]])),
    ):
        with pytest.raises(InputError) as caught:
            bad()
        assert re.fullmatch(r"[^A-Z].*[^.]", str(caught.value))


def test_an_empty_history_is_named():
    train = walk(20)
    with pytest.raises(InputError, match="has no history to go on from"):
        paths_of(train[:0], train, season=1, horizon=2)


@pytest.mark.skipif(
    not (DATA / "citylearn2022" / "data.parquet").is_file(),
    reason="needs ../shared/data/citylearn2022, which is not part of the repository",
)
def test_citylearn2022_baseline_is_as_strong_as_it_should_be():
    full = pd.read_parquet(DATA / "citylearn2022" / "data.parquet").to_numpy()
    horizon, windows = 24, 7
    ends = len(full) - horizon * np.arange(windows, 0, -1)
    truth = np.stack([full[end : end + horizon] for end in ends])
    start = pd.Period("2020-01-01", freq="h")
    task = Task(
        train=full[: ends[0]],
        histories=[full[:end] for end in ends],
        gaps=list(ends - ends[0]),
        horizon=horizon,
        freq="h",
        starts=[start + int(end) for end in ends],
        seasons=[24, 168],
        columns=[str(d) for d in range(full.shape[1])],
    )
    fitted = BASELINES["seasonal_naive"].prepare(task, seed=0, progress=False)
    assert fitted.details["season"] == 24
    for seed in (0, 1, 2):
        paths = fitted.paths(task, num_samples=100, seed=seed, progress=False)
        assert score(paths, truth)["mean_wquantile_loss_sum"] < 0.105
