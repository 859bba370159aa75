"""The support of forecasts: plain, what-if and recalibrated ones, saved and loaded, by data and by hand."""

import json

import numpy as np
import pytest
import torch
from groups import contracts, identities, invariances
from safetensors.torch import load_file, save_file
from tiny import HORIZON, MODEL, QUIET, TRAIN, entry, estimator, paths, same_weights, weights
from toys import stir

from timediff import TimeGradPredictor
from timediff.baselines.task import Task
from timediff.benchmark.ours import Trained
from timediff.benchmark.recalibration import Recalibration, to_json
from timediff.errors import InputError

pytestmark = QUIET
ADAPTIVE = MODEL._replace(scaling="adaptive", cycles=[8], beta_end=0.7)
SOLAR, COUNTS, IDLE, FREE = range(4)
LENGTH = 400
#: The hours of a day of 8 in which there is no sun; a series ends with one, and the next are such.
NIGHT = (0, 1, 7)


def mixed(length=LENGTH, *, seed=0, idle=-3.5):
    """Solar power, counts, a station that has been idle for long, and waves, ``[4, T]``."""
    data, rng = entry(4, length, seed=seed), np.random.default_rng(seed + 50)
    hours = np.arange(length) % 8
    data["target"][SOLAR] *= ~np.isin(hours, NIGHT)
    data["target"][COUNTS] = rng.poisson(2.0, size=length)
    data["target"][IDLE, length // 4 :] = idle
    data["target"][FREE] -= 2.0
    return data


def make(folder, data, model=ADAPTIVE, **options):
    """A predictor all of whose network is used and says something."""
    made = estimator(folder, model=model, **options).train(data)
    network = made.prediction_net
    if model.linear:
        network.denoiser.share.fill_(1.0)
        torch.manual_seed(3)
        stir(network.denoiser.network)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("support")


@pytest.fixture(scope="module")
def auto(folder):
    """For reading only."""
    return make(folder, [mixed()])


def whatif(predictor, data, given, *, seed=1):
    options = {"known_future": given, "num_particles": 400, "seed": seed, "progress": False}
    return next(predictor.predict([data], 100, **options)).samples


def some_given(predictor, data):
    """The free series at its second step, at a value that is likely."""
    given = np.full((HORIZON, 4), np.nan)
    given[1, FREE] = np.median(paths(predictor, [data])[0, :, 1, FREE])
    return given


def assert_keeps_to_it(drawn, *, idle=-3.5):
    """Night and idle station exactly, whole counts, no negative solar power; elsewhere all is random."""
    night, day = [0, 1], [2, 3]  # 400 steps are 50 days of 8 hours
    assert (drawn[:, night, SOLAR] == 0).all()
    assert (drawn[:, day, SOLAR] >= 0).all() and (drawn[:, day, SOLAR].std(axis=0) > 0).all()
    assert (drawn[..., COUNTS] >= 0).all() and (drawn[..., COUNTS].std(axis=0) > 0).all()
    np.testing.assert_array_equal(drawn[..., COUNTS], drawn[..., COUNTS].round())
    assert (drawn[..., IDLE] == idle).all()
    assert (drawn[..., FREE] < 0).any() and (drawn[..., FREE] != drawn[..., FREE].round()).all()


@contracts
def test_forecasts_and_what_if_forecasts_keep_to_what_the_data_did(auto):
    support = auto.prediction_net.support
    assert support.whole.tolist() == [False, True, False, False]
    assert support.sits.tolist() == [True, False, True, False]
    assert_keeps_to_it(paths(auto, [mixed()], num_samples=100)[0])
    assert_keeps_to_it(whatif(auto, mixed(), some_given(auto, mixed())))


@contracts
def test_what_is_given_of_a_series_that_sits_at_a_value_comes_back(auto):
    given = np.full((HORIZON, 4), np.nan)
    given[0, SOLAR] = 0.01
    drawn = whatif(auto, mixed(), given)
    assert (drawn[:, 0, SOLAR] == 0.01).all() and (drawn[:, 1, SOLAR] == 0).all()


@contracts
def test_a_station_that_left_its_value_is_forecast_to_move(auto):
    data = mixed()
    data["target"][IDLE, -4:] = [1.0, 2.0, 1.5, 0.5]
    drawn = paths(auto, [data])[0]
    # The next 4 steps are those of hours 0 to 3, and it moved at hours 4 to 7: these follow a day later.
    longer = {**data, "target": np.concatenate([data["target"], data["target"][:, -8:-4]], axis=1)}
    later = paths(auto, [longer])[0]
    assert (drawn[..., IDLE] == -3.5).all() and (later[..., IDLE].std(axis=0) > 0).all()


@contracts
@pytest.mark.parametrize("model", [ADAPTIVE, MODEL], ids=["adaptive", "global"])
def test_without_a_support_paths_are_free(folder, model):
    made = make(folder, [mixed()], model._replace(support="none"))
    drawn = paths(made, [mixed()], num_samples=100)[0]
    assert (drawn[..., [SOLAR, COUNTS]] < 0).any(axis=(0, 1)).all()
    assert (drawn[..., COUNTS] != drawn[..., COUNTS].round()).any()
    assert (drawn[..., IDLE].std(axis=0) > 0).all()


@contracts
def test_other_scalings_know_bounds_and_whole_numbers(folder):
    drawn = paths(make(folder, [mixed()], MODEL), [mixed()], num_samples=100)[0]
    assert (drawn[..., [SOLAR, COUNTS]] >= 0).all()
    np.testing.assert_array_equal(drawn[..., COUNTS], drawn[..., COUNTS].round())
    assert (drawn[..., FREE] < 0).any()


@invariances
@pytest.mark.parametrize("model", [ADAPTIVE, MODEL], ids=["adaptive", "global"])
def test_a_support_changes_nothing_but_what_lies_outside_of_it(folder, model):
    # Weights of the network, and every path of a series that it says nothing of.
    with_it, without = (
        make(folder, [mixed()], model._replace(support=s)) for s in ("auto", "none")
    )
    rest = [{k: v for k, v in weights(made.prediction_net).items() if not k.startswith("support")}
            for made in (with_it, without)]  # fmt: skip
    assert same_weights(*rest)
    one, other = (paths(made, [mixed()])[0] for made in (with_it, without))
    np.testing.assert_array_equal(one[..., FREE], other[..., FREE])
    inside = other[:, 2:, SOLAR] >= 0
    np.testing.assert_array_equal(one[:, 2:, SOLAR][inside], other[:, 2:, SOLAR][inside])


@identities
@pytest.mark.parametrize("bounds", [None, [[-10.0, 25.0]]])
def test_a_saved_support_is_loaded(folder, auto, tmp_path, bounds):
    made = auto
    if bounds:
        made = make(folder, [mixed()], ADAPTIVE._replace(bounds=bounds))
    made.serialize(tmp_path)
    loaded = TimeGradPredictor.deserialize(tmp_path)
    assert loaded.prediction_net.config.bounds == bounds
    np.testing.assert_array_equal(paths(loaded, [mixed()]), paths(made, [mixed()]))


@contracts
def test_a_folder_of_before_knows_no_support(auto, tmp_path):
    auto.serialize(tmp_path)
    file = tmp_path / "weights.safetensors"
    save_file({k: v for k, v in load_file(file).items() if not k.startswith("support")}, file)
    content = json.loads((tmp_path / "predictor.json").read_text())
    for name in ("support", "bounds"):
        del content["model"][name]
    (tmp_path / "predictor.json").write_text(json.dumps(content))
    drawn = paths(TimeGradPredictor.deserialize(tmp_path), [mixed()], num_samples=100)
    assert (drawn[..., SOLAR] < 0).any()


@contracts
def test_training_that_goes_on_from_a_predictor_has_the_support_of_its_own_data(folder, auto):
    data = mixed(seed=1)
    data["target"][SOLAR] -= 0.5
    made = estimator(folder, model=ADAPTIVE).train_from(auto, [data])
    assert made.prediction_net.support.bounds[0].tolist() == [-np.inf, 0, -np.inf, -np.inf]


# ---------------------------------------------------------------------------------- bounds by hand


@contracts
@pytest.mark.parametrize("support", ["auto", "none"])
@pytest.mark.parametrize("several", [False, True])
def test_declared_bounds_are_kept_to(folder, support, several):
    bounds = [[-9.0, 20.0]] if not several else [[None, 3.5], [0, 20], [-4, None], [-5, 5]]
    made = make(folder, [mixed()], ADAPTIVE._replace(support=support, bounds=bounds))
    narrow = [[-4.0, 2.5]] if not several else [[None, 1.5], [1, 2], [-3.4, None], [-0.6, 0.6]]
    made.prediction_net.support.declare(narrow)  # as no data would allow
    low, high = made.prediction_net.support.bounds.numpy()
    for drawn in (
        paths(made, [mixed()], num_samples=100)[0],
        whatif(made, mixed(), some_given(made, mixed())),
    ):
        assert (drawn >= low).all() and (drawn <= high).all()
        assert ((drawn == low) | (drawn == high)).any()


WRONG = [
    ([[1.0, 0.0]], "must be pairs"),
    ([[0.0, 0.0]], "must be pairs"),
    ([[0.0]], "must be pairs"),
    ([[float("nan"), None]], "must be pairs"),
    ([[0.0, float("inf")]], "must be pairs"),
    ([], "0 pairs"),
    ([[-5, 20], [0, 20]], "2 pairs; give one for all series, or one for each of the 4"),
    ([[0, None]], "holds -.* in dimension 2, outside of the bounds 0 to inf"),
    ([[-5, 20], [-5, 3], [-5, 20], [-5, 20]], "in dimension 1, outside of the bounds -5 to 3"),
]


@contracts
@pytest.mark.parametrize(("bounds", "message"), WRONG)
def test_bounds_that_make_no_sense_or_not_with_the_data_are_refused(folder, bounds, message):
    data = mixed()
    data["target"][IDLE, 0] = -1.0
    with pytest.raises(InputError, match=message):
        estimator(folder, model=ADAPTIVE._replace(bounds=bounds), train=TRAIN._replace(steps=10**9)).train(
            [data]
        )  # fmt: skip


@contracts
def test_what_is_given_outside_of_declared_bounds_is_refused(folder, auto):
    made = make(folder, [mixed()], ADAPTIVE._replace(bounds=[[0, 9], [0, 20], [-5, 5], [-5, 5]]))
    given = np.full((HORIZON, 4), np.nan)
    given[0, SOLAR] = -0.1
    with pytest.raises(InputError, match=r"entry 1 holds -0.1 in dimension 0.*bounds 0 to 9"):
        made.predict([mixed()] * 2, known_future=[None, given], progress=False)
    # What was only never seen may be asked about.
    drawn = whatif(auto, mixed(), given / 10)
    assert (drawn[:, 0, SOLAR] == -0.01).all()


# -------------------------------------------------------------------------------- after the forecast


@contracts
def test_recalibrated_paths_keep_to_the_support(auto, tmp_path):
    drawn = paths(auto, [mixed()], num_samples=50)
    auto.serialize(tmp_path / "predictor")
    # Three times as wide, and moved down by a quarter of a spread.
    knots = np.tile(np.linspace(-2.0, 2.0, 13), (4, 1))
    wider = Recalibration(knots, 3 * knots - 0.25, np.ones((4, 2)), 1.5, 10)
    (tmp_path / "recalibration.json").write_text(to_json(wider))
    task = Task(mixed()["target"].T, [], [], HORIZON, "h", [], [1], list("abcd"))
    mapped = Trained(tmp_path, 1, "cpu").recalibrated(drawn, task, windows=8)
    assert mapped.dtype == drawn.dtype
    assert_keeps_to_it(mapped[0])
    wide, narrow = (part[0, :, :, FREE].std(axis=0) for part in (mapped, drawn))
    np.testing.assert_allclose(wide, 3 * narrow, rtol=1e-3)
