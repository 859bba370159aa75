"""The same seed, the same paths: what holds bit for bit, and what up to rounding (docs/same_paths.md)."""

import copy
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from groups import contracts, invariances
from tasks import task_of
from tiny import HORIZON, MODEL, QUIET, entry, estimator, paths, wide_folder
from toys import stir

from timediff import TimeGradPredictor, load_dataset
from timediff.baselines import BASELINES
from timediff.baselines.external import fit_predictor, paths_of_all
from timediff.baselines.oracle import fit_oracle
from timediff.benchmark.backtest import backtest
from timediff.benchmark.problem import make_task
from timediff.data.entry import cut_entry, noise_seed
from timediff.errors import InputError
from timediff.gluon.rolled import rolled

pytestmark = QUIET
DATA = [entry(length=60 + 3 * k, seed=k, item_id=f"item {k}") for k in range(5)]
ORDER = [3, 0, 4, 1, 2]
#: What matrix products of other sizes may move a path by, in parts of the spread.
ROUNDING = 5e-6
PAGE = Path(__file__).resolve().parents[2] / "docs" / "same_paths.md"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A predictor whose paths are all the network's; for reading only."""
    return estimator(tmp_path_factory.mktemp("plain")).train(DATA)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One whose paths are half the network's, half the linear forecast with past errors."""
    model = MODEL._replace(scaling="adaptive", cycles=[8], variance="learned", beta_end=0.7)
    made = estimator(tmp_path_factory.mktemp("mixed"), model=model).train(DATA)
    made.prediction_net.use(0.5)
    stir(made.prediction_net.encoder)
    return made


@pytest.fixture(params=["plain", "mixed"])
def predictor(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_options(predictor, **options):
    changed = copy.copy(predictor)
    for name, value in options.items():
        setattr(changed, name, value)
    return changed


def off(found, expected):
    """The largest difference in parts of the spread."""
    return np.abs(found - expected).max() / expected.std()


def again(predictor, folder):
    return paths(predictor, DATA), paths(predictor, DATA)


def saved(predictor, folder):
    predictor.serialize(folder)
    return paths(TimeGradPredictor.deserialize(folder), DATA), paths(predictor, DATA)


def reordered(predictor, folder):
    return paths(predictor, [DATA[k] for k in ORDER]), paths(predictor, DATA)[ORDER]


def reordered_one_by_one(predictor, folder):
    return reordered(with_options(predictor, batch_size=1), folder)


def alone(predictor, folder):
    single = np.concatenate([paths(predictor, [one]) for one in DATA])
    return single, paths(predictor, DATA)


def alone_one_by_one(predictor, folder):
    return alone(with_options(predictor, batch_size=1), folder)


def batches(predictor, folder):
    return paths(with_options(predictor, batch_size=2), DATA), paths(predictor, DATA)


def chunks(predictor, folder):
    return paths(with_options(predictor, memory=1), DATA), paths(predictor, DATA)


def fewer(predictor, folder):
    return paths(predictor, DATA, num_samples=13), paths(predictor, DATA)[:, :13]


def threads(predictor, folder):
    expected = paths(predictor, DATA)
    torch.set_num_threads(2)
    return paths(predictor, DATA), expected


def longer(predictor, folder):
    options = {"num_samples": 12, "seed": 3, "progress": False}
    expected = rolled(predictor, DATA[0], 3 * HORIZON, **options)
    chunked = with_options(predictor, memory=1)
    return rolled(chunked, DATA[0], 3 * HORIZON, **options).samples, expected.samples


#: The table of the page: what changes -> whether paths are the same bit for bit, and how that is seen.
CHANGES = {
    "nothing: the call repeated": (True, again),
    "the predictor saved and loaded": (True, saved),
    "the order of the entries, with `batch_size=1`": (True, reordered_one_by_one),
    "the other entries, with `batch_size=1`": (True, alone_one_by_one),
    "the order of the entries": (False, reordered),
    "the other entries: each forecast alone": (False, alone),
    "`batch_size`": (False, batches),
    "`memory`, the paths drawn at a time": (False, chunks),
    "`memory`, in a forecast longer than the horizon": (False, longer),
    "fewer paths: they are the first of many": (False, fewer),
    "the number of threads": (False, threads),
}


@invariances
@pytest.mark.parametrize("change", CHANGES)
def test_paths_are_the_same(predictor, tmp_path, change):
    exact, made = CHANGES[change]
    found, expected = made(predictor, tmp_path)
    assert len(np.unique(expected)) > 0.9 * expected.size
    if exact:
        np.testing.assert_array_equal(found, expected)
    else:
        assert off(found, expected) < ROUNDING


@contracts
def test_the_table_of_the_page_is_what_is_tested():
    rows = re.findall(r"^\| (.+?) \| (bit for bit|to rounding) \|$", PAGE.read_text(), re.MULTILINE)
    expected = [
        (name, "bit for bit" if exact else "to rounding") for name, (exact, _) in CHANGES.items()
    ]
    assert rows == expected


@contracts
def test_what_tells_the_noise_apart():
    start = DATA[0]["start"]
    seeds = {
        noise_seed(seed, start + step, item_id=item, place=place)
        for seed in (0, 1, 2**63)
        for step in (0, 1)
        for item in (None, "0", "1", "place 0")
        for place in (0, 1)
    }
    # The place tells where there is no item only.
    assert len(seeds) == 3 * 2 * (2 + 3) and all(0 <= seed < 2**62 for seed in seeds)
    # Of 32 bits, which are all that torch's generator takes, too.
    assert len({seed % 2**32 for seed in seeds}) == len(seeds)
    assert noise_seed(np.int64(1), start, item_id=7, place=0) == noise_seed(
        1, start, item_id="7", place=3
    )


@invariances
def test_noise_is_told_by_item_start_and_seed(predictor):
    one = DATA[0]
    other = one | {"item_id": "another"}
    later = one | {"start": one["start"] + 8}  # a whole cycle, in which the calendar differs only
    expected = paths(predictor, [one])[0]
    twice = paths(predictor, [one, one])
    assert off(twice, expected) < ROUNDING
    nameless = {name: value for name, value in one.items() if name != "item_id"}
    first, second = paths(predictor, [nameless, nameless])
    pairs = [(first, second), *((expected, paths(predictor, [x])[0]) for x in (other, later))]
    for here, there in [*pairs, (expected, paths(predictor, [one], seed=6)[0])]:
        # A few past errors may be the same by chance.
        assert (here == there).mean() < 0.2 and off(here, there) > 0.1


@invariances
def test_what_if_forecasts_of_entries_in_another_order(predictor):
    options = {"num_samples": 10, "seed": 2, "num_particles": 1500, "progress": False}

    def given(one):
        values = np.full((HORIZON, 3), np.nan)
        values[0, 0] = paths(predictor, [one])[0, :, 0, 0].mean()
        return values

    def drawn(order):
        known = [given(DATA[k]) if k % 2 else None for k in order]
        found = predictor.predict([DATA[k] for k in order], known_future=known, **options)
        return np.stack([one.samples for one in found])

    expected = drawn(range(5))[ORDER]
    assert off(drawn(ORDER), expected) < ROUNDING


@invariances
def test_densities_do_not_depend_on_the_other_entries(plain, monkeypatch):
    monkeypatch.setattr("timediff.timegrad.density.ODE_STEPS", 3)
    monkeypatch.setattr("timediff.timegrad.density.EXACT_TRACE_DIM", 1)  # so that probes are drawn
    options = {"seed": 4, "progress": False}
    whole, left_out = plain.density(
        [*DATA, DATA[0] | {"target": DATA[0]["target"][:, :2]}], **options
    )
    assert left_out == 1
    turned, _ = plain.density([DATA[k] for k in ORDER], **options)
    single, _ = plain.density([DATA[2]], **options)
    for part, of_turned, of_single in zip(whole, turned, single, strict=True):
        assert torch.equal(of_turned, part[..., ORDER])
        assert torch.equal(of_single, part[..., 2:3])


# --------------------------------------------------------------------------------- through tasks


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_dataset(str(wide_folder(tmp_path_factory.mktemp("data") / "set", windows=3)))


@invariances
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_saved_predictor_gives_a_task_the_paths_of_predict(plain, dataset, tmp_path, by_hand):
    task = make_task(dataset)
    expected = np.stack([one.samples for one in plain.predict(task.known, 12, seed=3)])
    plain.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path)
    if by_hand:
        task = task._replace(known=())
        nameless = [{"start": w.begin, "target": w.history.T} for w in task.windows]
        expected = np.stack([one.samples for one in plain.predict(nameless, 12, seed=3)])
    fitted = fit_predictor(loaded, task)
    np.testing.assert_array_equal(fitted.paths(task, num_samples=12, seed=3), expected)
    np.testing.assert_array_equal(paths_of_all(plain, task, 12, 3), expected)


@invariances
def test_a_univariate_model_gives_a_task_the_paths_of_predict(dataset, tmp_path):
    task = make_task(dataset)
    names, series = task.columns, []
    for known in task.known:
        one = {"start": known["start"]}
        series += [
            one | {"item_id": n, "target": y} for n, y in zip(names, known["target"], strict=True)
        ]
    train = [{"start": task.begin, "target": y} for y in task.train.T]
    made = estimator(tmp_path, joint=False).train(train)
    drawn = np.stack([one.samples for one in made.predict(series, 11, seed=3)])
    expected = np.moveaxis(drawn.reshape(3, 3, 11, HORIZON), 1, -1)  # [W, S, T, D]
    fitted = fit_predictor(made, task)
    assert fitted.details["way"] == "univariate"
    np.testing.assert_array_equal(fitted.paths(task, num_samples=11, seed=3), expected)


@invariances
def test_a_model_of_covariates_forecasts_a_task(tmp_path):
    """Its windows hold the covariates in their entries only."""
    whole = entry(length=90, feat_dynamic_real=np.arange(90.0)[None] % 5)
    known = [cut_entry(whole, end=end, ahead=HORIZON) for end in (80, 84)]
    made = estimator(tmp_path).train([cut_entry(whole, end=80)])
    task = task_of(whole["target"].T, ends=[80, 84], start=whole["start"])._replace(known=known)
    found = fit_predictor(made, task).paths(task, num_samples=10, seed=1)
    np.testing.assert_array_equal(found, paths(made, known, num_samples=10, seed=1))


@invariances
@pytest.mark.parametrize("name", ["seasonal_naive", "var", "climatology"])
def test_windows_of_a_baseline_in_another_order(dataset, name):
    task = make_task(dataset)
    order = [2, 0, 1]
    turned = task._replace(
        **{
            field: [getattr(task, field)[k] for k in order]
            for field in ("histories", "gaps", "starts", "known")
        }
    )
    options = {"num_samples": 10, "seed": 3, "progress": False}
    expected = BASELINES[name].forecast(task, **options)
    assert not (expected[0] - task.histories[0][-1] == expected[1] - task.histories[1][-1]).all()
    np.testing.assert_array_equal(BASELINES[name].forecast(turned, **options), expected[order])


@invariances
def test_windows_of_the_oracle_in_another_order():
    task = make_task(load_dataset("oracle-2x800", windows=3))
    fitted = fit_oracle(task, seed=1, progress=False)
    expected = fitted.paths(task, num_samples=5, seed=1)
    found = fitted.paths(task._replace(known=task.known[::-1]), num_samples=5, seed=1)
    np.testing.assert_array_equal(found[::-1], expected)


@invariances
def test_a_backtest_of_a_model_has_the_paths_of_predict(plain):
    frame = pd.DataFrame(
        DATA[0]["target"].T, pd.date_range("2020-01-06", periods=60, freq="h"), ["a", "b", "c"]
    )
    found = backtest(
        frame, plain, windows=2, stride=HORIZON, num_samples=10, seed=7, progress=False
    )
    known = [cut_entry(DATA[0] | {"item_id": "frame"}, end=60 - k * HORIZON) for k in (2, 1)]
    np.testing.assert_array_equal(found.paths, paths(plain, known, num_samples=10, seed=7))


@contracts
@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_that_is_none_is_refused(plain, seed):
    with pytest.raises(InputError, match=r"^seed is .*(whole number|not be negative)"):
        plain.predict(DATA, seed=seed)


@contracts
def test_seeds_of_numpy_are_seeds(plain):
    np.testing.assert_array_equal(
        paths(plain, DATA[:1], seed=np.int64(5)), paths(plain, DATA[:1], seed=5)
    )
