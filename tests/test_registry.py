"""Parts of a user's own: they train, forecast, are chosen by name, and come back with a saved predictor."""

import json
import sys

import numpy as np
import pytest
import torch
from processes import run_python
from tiny import MODEL, QUIET, entry, estimator, paths, wide_folder
from torch import nn

from timediff import SamplingConfig, TimeGradPredictor, register
from timediff.baselines import BASELINES, Baseline, Fitted, chosen
from timediff.benchmark.record import read_record
from timediff.cli.evaluate import main
from timediff.diffusion.parameterisation import Parameterisation
from timediff.diffusion.schedule import chain
from timediff.errors import InputError
from timediff.metrics import Score, definitions, is_loss, score, title_of
from timediff.networks.base import DenoisingNetwork
from timediff.registry import COMMANDS, SAMPLERS, SCHEDULES, TABLES, Part, Table

pytestmark = [QUIET, pytest.mark.usefixtures("clean_tables")]


# ---------------------------------------------------------------- a part of each kind


def square(num_steps, beta_start, beta_end):
    """A schedule: beta rising as a square."""
    return chain(beta_start + (beta_end - beta_start) * torch.linspace(0, 1, num_steps) ** 2)


def half_way(denoiser, schedule, x, noise, *, share: float = 0.5):
    """A sampler.

    Args:
        share: Of the noise that is kept.
    """
    for n in range(schedule.num_steps, 0, -1):
        prediction, end = denoiser(x, schedule.points[n]), schedule.points[n - 1]
        x = end.alpha * prediction.x0 + share * end.sigma * prediction.eps
    return x


class Plain(DenoisingNetwork):
    """A network of one layer."""

    floats_per_row = 100

    def __init__(self, target_dim, *, cond_size, width, outputs=1):
        super().__init__()
        self.outputs = outputs
        self.level, self.condition = nn.Linear(1, width), nn.Linear(cond_size, width)
        self.input, self.output = (
            nn.Linear(target_dim, width),
            nn.Linear(width, outputs * target_dim),
        )

    def embed_level(self, level):
        return (self.level(level.log_snr[..., None].clamp(-10, 10)),)

    def under(self, cond):
        shift = self.condition(cond)

        def network(x, level):
            y = self.output(torch.tanh(self.input(x) + level[0] + shift))
            return tuple(y.chunk(self.outputs, dim=-1))

        return network


def by_last(x, observed, default):
    """A normalisation."""
    return x[:, -1:], default[1].expand(len(x), 1, -1)


def first_steps(schedule, num_steps):
    """A spacing."""
    return torch.linspace(0, 1, num_steps + 1, dtype=torch.float64) ** 0.3 * schedule.num_steps


def quarter(estimate, noise):
    """A loss."""
    return (estimate - noise).abs() ** 1.5


def rising(schedule, n):
    """A weighting."""
    return 0.5 + n / schedule.num_steps


def reflected(out, generator):
    """A noise."""
    out.normal_(generator=generator).neg_()


#: Kind -> part, and the option of the model or of sampling that names it.
PARTS = {
    "schedule": (square, "schedule"),
    "network": (Plain, "denoiser"),
    "normalisation": (by_last, "scaling"),
    "parameterisation": (Parameterisation(lambda alpha, sigma: (0.3, 1.0)), "parameterisation"),
    "loss": (quarter, "loss"),
    "weighting": (rising, "weighting"),
    "sampler": (half_way, "sampler"),
    "spacing": (first_steps, "spacing"),
    "noise": (reflected, "noise"),
}
every_kind = pytest.mark.parametrize("kind", PARTS)


def trained(folder, kind):
    """A predictor that uses a part called "mine"."""
    option = PARTS[kind][1]
    if option in MODEL._fields:
        return estimator(folder, model=MODEL._replace(**{option: "mine"})).train([entry()])
    sampling = SamplingConfig(steps=3)._replace(**{option: "mine"})
    return estimator(folder, sampling=sampling).train([entry()])


@every_kind
def test_a_part_trains_forecasts_and_comes_back(tmp_path, kind):
    register(kind, "mine", PARTS[kind][0], version=3)
    predictor = trained(tmp_path, kind)
    before = paths(predictor, [entry()])
    assert np.isfinite(before).all()
    predictor.serialize(tmp_path / "saved")
    again = TimeGradPredictor.deserialize(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(paths(again, [entry()]), before)


@every_kind
def test_a_part_changes_the_forecast(tmp_path, plain, kind):
    register(kind, "mine", PARTS[kind][0])
    mine = trained(tmp_path, kind)
    # Apart from the part the two are alike.
    in_model = PARTS[kind][1] in MODEL._fields
    plain.sampling = mine.sampling if in_model else SamplingConfig(steps=3)
    assert not np.array_equal(paths(mine, [entry()]), paths(plain, [entry()]))


@every_kind
def test_a_part_that_is_not_registered_or_another_is_refused(tmp_path, kind):
    part = PARTS[kind][0]
    register(kind, "mine", part, version=3)
    trained(tmp_path, kind).serialize(tmp_path / "saved")
    TABLES[kind].remove("mine")
    with pytest.raises(
        InputError, match=f"needs the {kind} 'mine', version 3, .*not registered.* --plugin"
    ):
        TimeGradPredictor.deserialize(tmp_path / "saved")
    register(kind, "mine", part, version=4)
    with pytest.raises(
        InputError, match=f"{kind} 'mine', version 3, but version 4 .* by {__name__}"
    ):
        TimeGradPredictor.deserialize(tmp_path / "saved")


def test_a_schedule_of_other_numbers_is_refused_though_its_version_is_the_same(tmp_path):
    register("schedule", "mine", square)
    trained(tmp_path, "schedule").serialize(tmp_path / "saved")
    TABLES["schedule"].remove("mine")
    register("schedule", "mine", SCHEDULES["cosine"])
    with pytest.raises(InputError, match="other numbers of the schedule 'mine'"):
        TimeGradPredictor.deserialize(tmp_path / "saved")


def test_the_module_of_a_part_is_shown_and_never_imported(tmp_path):
    register("schedule", "mine", square)
    trained(tmp_path, "schedule").serialize(tmp_path / "saved")
    TABLES["schedule"].remove("mine")
    file = tmp_path / "saved" / "predictor.json"
    content = json.loads(file.read_text())
    for part in content["parts"]:
        if part["name"] == "mine":
            part["module"] = "a_module_that_must_not_run"
    file.write_text(json.dumps(content))
    (tmp_path / "a_module_that_must_not_run.py").write_text("raise SystemExit('ran')")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(InputError, match="it was a_module_that_must_not_run"):
            TimeGradPredictor.deserialize(tmp_path / "saved")
    finally:
        sys.path.remove(str(tmp_path))
    assert "a_module_that_must_not_run" not in sys.modules


def test_a_score_is_in_the_table():
    def worst(evaluation):
        return float(np.nanmax(np.abs(evaluation.paths.mean(axis=1) - evaluation.truth)))

    rng = np.random.default_rng(0)
    simulated, truth = rng.normal(size=(3, 20, 4, 2)), rng.normal(size=(3, 4, 2))
    before = score(simulated, truth)
    register(
        "metric", "worst", Score("worst error", "largest error of the mean of the paths", worst)
    )
    after = score(simulated, truth)
    assert after.pop("worst") == np.abs(simulated.mean(axis=1) - truth).max()
    np.testing.assert_equal(after, before)
    assert title_of("worst") == "worst error" and is_loss("worst") and "worst" in definitions()
    with pytest.raises(InputError, match="'crps' is timediff's own"):
        register("metric", "crps", Score("mine", "mine", worst))


def test_a_baseline_takes_part_with_every_seed(tmp_path, monkeypatch):
    def fit(task, *, seed, progress):
        def sample(window, num_samples, rng):
            return rng.normal(
                window.history[-1], 1.0, (num_samples, task.horizon, len(task.columns))
            )

        return Fitted(sample, {"seen": len(task.train)})

    register("baseline", "mine", Baseline("my walk", "The last value and noise.", True, fit))
    register("baseline", "slow", Baseline("my slow walk", "The same.", False, fit))
    assert "mine" in chosen("fast")[0] and "slow" not in chosen("fast")[0]
    assert {"mine", "slow"} <= set(chosen("all")[0])
    wide_folder(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    options = [
        "--steps",
        "2",
        "--num-samples",
        "5",
        "--no-report",
        "--out",
        "run",
        "--seed",
        "1",
        "2",
    ]
    assert main(["--dataset", "data", *options]) == 0
    result = read_record("run").entrants["mine"]
    assert result.title == "my walk" and result.seeds == [1, 2]
    assert result.metrics_se["crps"] > 0 and "seen" in result.details


def test_slow_baselines_of_the_library_are_told_by_their_line():
    for name, part in BASELINES.parts.items():
        assert BASELINES[name].fast != part.slow, name


# ---------------------------------------------------------------- names


def test_a_part_of_the_library_stays_what_it_is():
    with pytest.raises(InputError, match="'linear' is timediff's own; choose another name"):
        register("schedule", "linear", square)
    with pytest.raises(InputError, match="own and stays"):
        SCHEDULES.remove("linear")


def test_a_name_is_renewed_by_the_same_object_or_a_higher_version_only():
    register("schedule", "mine", square)
    register("schedule", "mine", square)
    with pytest.raises(
        InputError, match=r"registered already, by the module .*; choose another name, or a"
    ):
        register("schedule", "mine", SCHEDULES["cosine"])
    register("schedule", "mine", SCHEDULES["cosine"], version=2)
    assert SCHEDULES["mine"] is SCHEDULES["cosine"]


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden"])
def test_names_are_fit_for_the_command_line_and_for_folders(name):
    with pytest.raises(InputError, match="is no name of a sampler"):
        register("sampler", name, half_way)


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        InputError, match="no parts of kind 'solver'; choose one of schedule, sampler"
    ):
        register("solver", "mine", half_way)


def test_what_cannot_be_called_is_no_part():
    with pytest.raises(InputError, match="is a str; give the part itself"):
        register("sampler", "mine", "my_module:half_way")


def test_every_part_of_the_library_is_where_its_table_says():
    for table in TABLES.values():
        for name, part in table.parts.items():
            assert callable(table[name]) or isinstance(table[name], tuple), (table.kind, name)
            assert part.built_in and part.version == 1


def test_a_table_reads_like_a_dictionary():
    table = Table("kind", {"a": "math:pi", "b": Part("math:e", version=2)})
    assert list(table) == ["a", "b"] and len(table) == 2 and "c" not in table
    assert dict(table) == {"a": np.pi, "b": np.e}
    with pytest.raises(KeyError):
        table["c"]
    with pytest.raises(InputError, match="kind is 'c'; it must be one of a, b"):
        table.check("c")


# ---------------------------------------------------------------- the command line

PLUGIN = '''
import numpy as np
from timediff import register
from timediff.baselines import Baseline, Fitted
from timediff.diffusion.schedule import chain
import torch


def square(num_steps, beta_start, beta_end):
    return chain(beta_start + (beta_end - beta_start) * torch.linspace(0, 1, num_steps) ** 2)


def half_way(denoiser, schedule, x, noise, *, share: float = 0.5):
    """A sampler.

    Args:
        share: Of the noise that is kept.
    """
    for n in range(schedule.num_steps, 0, -1):
        prediction, end = denoiser(x, schedule.points[n]), schedule.points[n - 1]
        x = end.alpha * prediction.x0 + share * end.sigma * prediction.eps
    return x


def greet(argv):
    print("hello", *argv)
    return 0


register("schedule", "square", square)
register("sampler", "half-way", half_way)
def fit_last(task, *, seed, progress):
    def sample(window, num_samples, rng):
        return np.broadcast_to(window.history[-1], (num_samples, task.horizon, window.history.shape[1]))

    return Fitted(sample, {"chosen": "nothing"})


register("baseline", "last", Baseline("last value", "The last value.", True, fit_last))
register("command", "greet", greet, summary="say hello")
'''


@pytest.fixture
def plugin(tmp_path):
    """A folder with the module my_parts."""
    (tmp_path / "my_parts.py").write_text(PLUGIN)
    return tmp_path


def timediff(folder, *arguments):
    """A real process in a folder."""
    return run_python("timediff", folder, *arguments)


def test_parts_of_a_plugin_are_chosen_on_the_command_line(plugin):
    wide_folder(plugin / "data")
    options = "--model.schedule square --sampling.sampler half-way --sampling.share 0.7".split()
    small = "--steps 2 --num-samples 5 --baselines fast --no-report --out run".split()
    done = timediff(
        plugin, "evaluate", "--plugin", "my_parts", "--dataset", "data", *small, *options
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((plugin / "run" / "record.json").read_text())
    assert record["config"]["model"]["schedule"] == "square"
    assert record["config"]["sampling"]["share"] == 0.7
    last = record["entrants"]["last"]
    assert (last["kind"], last["title"]) == ("baseline", "last value")
    assert last["per_seed"][0]["details"] == {"chosen": "nothing"} and "var" in record["entrants"]
    refused = timediff(plugin, "evaluate", "--dataset", "data", *small, *options)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1


def test_a_command_of_a_plugin_is_listed_and_called(plugin):
    listed = timediff(plugin, "--plugin", "my_parts", "--help")
    assert "greet     say hello" in listed.stdout
    called = timediff(plugin, "--plugin", "my_parts", "greet", "you")
    assert called.stdout == "hello you\n"
    assert "greet" not in COMMANDS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "plugin nowhere cannot be imported (ModuleNotFoundError"),
        ("broken", "ValueError: no"),
    ],
)
def test_a_plugin_that_fails_is_one_line(tmp_path, name, message):
    (tmp_path / "broken.py").write_text("raise ValueError('no')")
    done = timediff(tmp_path, "evaluate", "--plugin", name)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_sampler_of_ones_own_has_options_like_any_other():
    register("sampler", "mine", half_way)
    (option,) = SAMPLERS.options("mine").values()
    assert (
        option.name == "share"
        and option.default == 0.5
        and option.help == "Of the noise that is kept."
    )
