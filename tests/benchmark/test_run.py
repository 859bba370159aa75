"""The one loop: entrants of all kinds, jobs that need no other, and what a lost job leaves."""

import json
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from gluonts.model.seasonal_naive import SeasonalNaivePredictor
from gluonts.torch import SimpleFeedForwardEstimator
from processes import FORKS, run_python
from tiny import HORIZON, MODEL, QUIET, TRAIN, estimator, wide_folder

from timediff.baselines import BASELINES, Fitted
from timediff.benchmark.entrants import as_entrant, entrants_of
from timediff.benchmark.evaluation import evaluate
from timediff.benchmark.folder import seed_folder
from timediff.benchmark.problem import make_problem
from timediff.benchmark.record import read_record
from timediff.benchmark.run import Job, Setting, run_job
from timediff.config import RunConfig
from timediff.data.dataset import load_dataset
from timediff.errors import InputError

pytestmark = [QUIET, pytest.mark.contracts]
SEEDS, PATHS = [3, 5], 12


class Last:
    """Repeats the last value with noise; fitted in place."""

    def fit(self, task, *, seed):
        self.scale = np.nanstd(np.diff(task.train, axis=0), axis=0) * (1 + seed / 100)
        self.horizon = task.horizon

    def sample(self, window, num_samples, rng):
        steps = rng.normal(size=(num_samples, self.horizon, len(self.scale)))
        return window.history[-1] + self.scale * steps.cumsum(axis=1)


class Returned(Last):
    """The same, whose `fit` returns what is fitted."""

    def fit(self, task, *, seed):
        fitted = Last()
        fitted.fit(task, seed=seed)
        return fitted


class Broken(Last):
    """Fails with the second seed alone."""

    def fit(self, task, *, seed):
        if seed == SEEDS[1]:
            raise ZeroDivisionError("of its own")
        super().fit(task, seed=seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return wide_folder(tmp_path_factory.mktemp("data") / "homes")


def config_of(folder, out, **options):
    defaults = {"seed": SEEDS, "num_samples": PATHS, "report": False, "device": "cpu"}
    train = TRAIN._replace(seed=None)
    return RunConfig(str(folder), None, out, **(defaults | options), model=MODEL, train=train)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    config = config_of(folder, out)
    evaluation = evaluate(config, entrants=[as_entrant(Last(), "last", note="mine")])
    return config, evaluation


def jobs_of(config, *, out, more=()):
    """Setting and jobs of a run, made anew."""
    problem = make_problem(load_dataset(config.dataset))
    entrants, _ = entrants_of(config, problem.task, device="cpu", more=more)
    setting = Setting(problem, config.num_samples)
    return setting, [
        Job(one, seed, seed_folder(out, one.name, seed)) for one in entrants for seed in config.seed
    ]


def test_the_evaluation_holds_the_record_and_what_a_report_needs(finished):
    config, evaluation = finished
    assert evaluation.record == read_record(config.out)
    assert list(evaluation.paths) == list(evaluation.record.entrants)
    assert evaluation.truth.shape == (2, HORIZON, 3)
    for name, paths in evaluation.paths.items():
        stored = np.load(config.out / name / f"seed-{SEEDS[0]}" / "paths.npy")
        np.testing.assert_array_equal(paths, stored)


def test_every_entrant_has_all_seeds_with_a_standard_error(finished):
    record = finished[1].record
    fast = [name for name, one in BASELINES.items() if one.fast]
    assert list(record.entrants) == ["timediff", *fast, "last"]
    for result in record.entrants.values():
        assert result.seeds == [row.seed for row in result.per_seed] == SEEDS
        for name, error in result.metrics_se.items():
            one, other = (row.metrics[name] for row in result.per_seed)
            assert error == pytest.approx(abs(one - other) / 2, abs=1e-12)
    assert record.evaluated.metrics_se["crps"] > 0
    assert (record.entrants["last"].kind, record.entrants["last"].note) == ("other", "mine")


def test_a_job_alone_gives_what_the_loop_gives(finished, tmp_path):
    config, evaluation = finished
    setting, jobs = jobs_of(config, out=tmp_path, more=[as_entrant(Last(), "last")])
    # In another order, each by itself and after a pickle, as another process or machine has it.
    for job in reversed(jobs):
        alone, moved = pickle.loads(pickle.dumps((partial(run_job, setting), job)))
        result = alone(moved).result
        expected = evaluation.record.entrants[job.entrant.name]
        row = expected.per_seed[SEEDS.index(job.seed)]
        # As the record has it, where what is not finite is None.
        known = {k: v if np.isfinite(v) else None for k, v in result.metrics.items()}
        assert known == row.metrics
        paths = [
            np.load(seed_folder(out, job.entrant.name, job.seed) / "paths.npy")
            for out in (tmp_path, config.out)
        ]
        np.testing.assert_array_equal(*paths)


def test_a_pool_of_processes_is_an_executor(finished, folder, tmp_path):
    config, evaluation = finished
    config = config._replace(out=tmp_path)
    # As many threads as here, on which the last digits of a training depend.
    options = {"initializer": torch.set_num_threads, "initargs": (torch.get_num_threads(),)}
    with ProcessPoolExecutor(2, mp_context=FORKS, **options) as pool:
        again = evaluate(config, executor=pool.map)
    for name, result in again.record.entrants.items():
        assert result.metrics == evaluation.record.entrants[name].metrics


def test_a_killed_job_loses_only_itself(folder, finished, tmp_path):
    script = """
import os, signal, sys
from timediff.benchmark import run
from timediff.cli.evaluate import main
forecast = run._forecast
def killed(setting, job):
    if (job.entrant.name, job.seed) == ("var", 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return forecast(setting, job)
run._forecast = killed
main(sys.argv[1:])
"""
    from tiny import TINY

    command = ["--dataset", str(folder), "--out", str(tmp_path), *TINY, "--seed", "3", "5"]
    (tmp_path / "killed.py").write_text(script)
    done = run_python(tmp_path / "killed.py", tmp_path, *command)
    assert done.returncode == -signal.SIGKILL
    left = {file.parent.relative_to(tmp_path): file for file in tmp_path.rglob("result.json")}
    before = {place: file.stat().st_mtime_ns for place, file in left.items()}
    assert Path("timediff/seed-5") in before and Path("climatology/seed-5") in before
    assert not any(place.parts[0] == "var" for place in before)
    again = run_python("timediff.evaluate", tmp_path, *command, "--resume")
    assert again.returncode == 0, again.stderr
    assert {place: file.stat().st_mtime_ns for place, file in left.items()} == before
    assert "ridge VAR, seed 3" in again.stderr and "climatology, seed" not in again.stderr
    assert read_record(tmp_path).entrants["var"].seeds == [3, 5]


def test_a_seed_that_fails_leaves_the_entrant_out_and_keeps_what_was_finished(
    folder, tmp_path, capsys
):
    config = config_of(folder, tmp_path, baselines="none")
    record = evaluate(config, entrants=[as_entrant(Broken(), "broken")]).record
    assert list(record.entrants) == ["timediff"]
    assert record.left_out == {"broken": "ZeroDivisionError: of its own"}
    assert capsys.readouterr().err.count("broken is left out") == 1
    assert (tmp_path / "broken" / "seed-3" / "result.json").is_file()
    assert not (tmp_path / "broken" / "seed-5" / "result.json").is_file()
    healed = evaluate(config._replace(resume=True), entrants=[as_entrant(Last(), "broken")]).record
    assert healed.entrants["broken"].seeds == SEEDS and healed.left_out == {}


def test_the_one_that_the_run_is_of_must_not_fail(folder, tmp_path):
    saved = tmp_path / "repeated"
    saved.mkdir()
    SeasonalNaivePredictor(prediction_length=HORIZON, season_length=8).serialize(saved)
    config = config_of(folder, tmp_path / "out", predictor=saved, baselines="none")

    def killed(function, jobs):
        return ["KeyError: gone" for _ in jobs]

    with pytest.raises(InputError, match="KeyError: gone"):
        evaluate(config, executor=killed)


def feedforward(tmp_path):
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    quiet |= {"enable_model_summary": False, "default_root_dir": str(tmp_path), "max_epochs": 1}
    return SimpleFeedForwardEstimator(HORIZON, num_batches_per_epoch=2, trainer_kwargs=quiet)


@pytest.mark.filterwarnings("ignore")
def test_anything_that_forecasts_is_an_entrant(folder, tmp_path):
    naive = SeasonalNaivePredictor(prediction_length=HORIZON, season_length=8)
    more = [
        as_entrant(Last(), "in_place"),
        as_entrant(Returned(), "returned"),
        as_entrant(naive, "naive", title="season of 8"),
        as_entrant(feedforward(tmp_path), "feedforward", univariate=True),
        as_entrant(estimator(tmp_path, freq="h"), "ours_too"),
    ]
    config = config_of(folder, tmp_path / "out", baselines="none")
    record = evaluate(config, entrants=more).record
    assert record.left_out == {}
    assert list(record.entrants)[1:] == [one.name for one in more]
    ways = {name: one.details.get("way") for name, one in record.entrants.items()}
    assert ways["naive"] == ways["feedforward"] == "univariate"
    assert ways["ours_too"] == "multivariate"
    assert record.entrants["naive"].title == "season of 8"
    assert record.entrants["naive"].seconds.training is None
    in_place, returned = (record.entrants[name].metrics for name in ("in_place", "returned"))
    assert in_place == returned
    # A seed of its own keeps an estimator to one training: only the paths differ.
    assert record.entrants["feedforward"].metrics_se["crps"] > 0


def test_the_object_that_was_given_is_left_as_it_was(finished, folder):
    forecaster = Last()
    entrant = as_entrant(forecaster, "last")
    task = make_problem(load_dataset(str(folder))).task
    assert isinstance(entrant.fit(task, seed=1, folder=Path()), Fitted)
    assert not hasattr(forecaster, "scale")


@pytest.mark.parametrize(
    ("forecaster", "name", "message"),
    [
        (Last(), "../up", "the name of an entrant is"),
        (Last(), "", "the name of an entrant is"),
        ("a model", "mine", "mine is a str; give a GluonTS predictor"),
    ],
)
def test_what_is_no_entrant_is_refused(forecaster, name, message):
    with pytest.raises(InputError, match=message):
        as_entrant(forecaster, name)


def test_two_entrants_of_one_name_are_refused(folder, tmp_path):
    config = config_of(folder, tmp_path / "out", baselines="none")
    for more, part in (
        ([as_entrant(Last(), "timediff")], "name timediff"),
        ([as_entrant(Last(), "a", title="x"), as_entrant(Last(), "b", title="x")], "title x"),
    ):
        with pytest.raises(InputError, match=f"two entrants have the {part}"):
            evaluate(config, entrants=more)
    assert not (tmp_path / "out").exists()


def test_paths_that_cannot_be_scored_leave_an_entrant_out(folder, tmp_path):
    class Narrow(Last):
        def sample(self, window, num_samples, rng):
            return super().sample(window, num_samples, rng)[..., :1]

    class Endless(Last):
        def sample(self, window, num_samples, rng):
            return super().sample(window, num_samples, rng) * np.inf

    config = config_of(folder, tmp_path, baselines="none", seed=[3])
    more = [as_entrant(Narrow(), "narrow"), as_entrant(Endless(), "endless")]
    left_out = evaluate(config, entrants=more).record.left_out
    assert f"have the shape (12, {HORIZON}, 1) where" in left_out["narrow"]
    assert "NaN or infinity" in left_out["endless"]


def test_a_rival_of_the_same_name_from_another_folder_is_run_again(folder, tmp_path):
    places = [tmp_path / where / "naive" for where in ("a", "b")]
    for season, place in zip((8, 4), places, strict=True):
        place.mkdir(parents=True)
        SeasonalNaivePredictor(prediction_length=HORIZON, season_length=season).serialize(place)
    config = config_of(folder, tmp_path / "out", baselines="none", resume=True)
    one, other, again = (
        evaluate(config._replace(rivals=[place])).record.entrants["predictor-naive"].metrics
        for place in (places[0], places[1], places[0])
    )
    assert one != other and one == again


def test_baselines_on_the_same_margins_train_once(folder, tmp_path, monkeypatch):
    fitted = []

    def fit(task, *, seed, progress):
        fitted.append(seed)
        return BASELINES["random_walk"].fit(task, seed=seed, progress=progress)

    plain = BASELINES["deepar"]._replace(fit=fit)
    kept = {"plain": plain, "joined": plain._replace(title="joined", copula=True)}
    monkeypatch.setattr("timediff.benchmark.entrants.BASELINES", kept)
    monkeypatch.setattr("timediff.benchmark.entrants.chosen", lambda which: (list(kept), {}))
    record = evaluate(config_of(folder, tmp_path)).record
    assert fitted == SEEDS and list(record.entrants) == ["timediff", "plain", "joined"]
    # The time of the training belongs to both.
    assert record.entrants["joined"].seconds.training > 0
    (tmp_path / "alone").mkdir()
    setting, jobs = jobs_of(config_of(folder, tmp_path), out=tmp_path / "alone")
    assert [job.entrant.name for job in jobs[2:]] == ["plain"] * 2 + ["joined"] * 2
    run_job(setting, jobs[4])
    assert fitted == [*SEEDS, SEEDS[0]]


@pytest.mark.parametrize("name", ["oracle", "oracle_regime"])
def test_the_oracle_draws_each_window_or_all(name, tmp_path):
    config = config_of("oracle-2x200", tmp_path, seed=[1])
    problem = make_problem(load_dataset(config.dataset))
    entrants, _ = entrants_of(config, problem.task, device="cpu")
    (oracle,) = (one for one in entrants if one.name == name)
    assert oracle.kind == "oracle" and not oracle.foreign
    fitted = oracle.fit(problem.task, seed=1, folder=tmp_path)
    paths = fitted.paths(problem.task, num_samples=6, seed=1)
    assert paths.shape == (35, 6, 24, 2)
    single = fitted.sample(problem.task.windows[-1], 6, np.random.default_rng(0))
    assert single.shape == (6, 24, 2) and np.isfinite(single).all()
    without, _ = entrants_of(config._replace(baselines="none"), problem.task, device="cpu")
    assert [one.name for one in without] == ["timediff"]


def test_settings_are_those_of_the_entrants_that_were_run(finished):
    config, evaluation = finished
    settings = json.loads((config.out / "settings.json").read_text())
    assert settings["entrants"] == sorted(evaluation.record.entrants)
