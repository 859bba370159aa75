"""One evaluation from data to record: what ``python -m timediff.evaluate`` does.

What cannot be trained on or scored is refused first. Seeds (`timediff.benchmark.seeds`) and baselines
(`timediff.benchmark.rivals`) write down what they finish; all else is made of that, anew each time: scores,
record, table, pictures.
"""

import logging
from typing import Any

import numpy as np

from timediff.baselines import check_task
from timediff.baselines.external import fit_predictor, load_predictor
from timediff.benchmark.folder import locked, paths_file, prepare, stamps, write_forecasts
from timediff.benchmark.record import OURS, as_json, make_record
from timediff.benchmark.rivals import predictors, run_baselines
from timediff.benchmark.scoring import Exam, make_exam, make_task, split, stride_of
from timediff.benchmark.seeds import (
    make_estimator,
    recalibrated,
    recalibrated_paths,
    run_seed,
    seed_folder,
)
from timediff.config import Options
from timediff.data.dataset import Dataset, load_dataset
from timediff.data.rolling import rewindow
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.metrics import monte_carlo_error
from timediff.metrics.monte_carlo import FEWEST
from timediff.report import diagnose, write_report
from timediff.report.plots import bound_figure, forecast_figure, save_figure
from timediff.report.text import as_text
from timediff.tools.device import device_of
from timediff.tools.files import write_text


def run(options: Options) -> dict[str, Any]:
    """Trains, forecasts and scores every seed and baseline; writes record and pictures; returns the record.

    Raises:
        InputError: Something in the options or the data does not make sense, said before training.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    device, out = device_of(options.device), options.out
    with quiet_business_days():
        data = _load(options)
        _check(options, data)
        exam, task = make_exam(data), make_task(data)
        given = [*([options.predictor] if options.predictor else []), *predictors(options).values()]
        if options.baselines != "none" or given:
            check_task(task)
        for folder in given:
            # Said before anything of an earlier run is replaced.
            fit_predictor(load_predictor(folder, device=device), task)
        with locked(out):
            prepare(options, data)
            results = [run_seed(options, exam, task, seed, device) for seed in options.seeds]
            baselines, left_out = run_baselines(options, exam, task)
            record = make_record(
                options,
                data,
                results,
                baselines=baselines,
                observed_share=float(np.isfinite(exam.truth).mean()),
                stride=stride_of(task),
                device=device,
            )
            record["baselines_left_out"] = left_out
            paths = _paths(options, record)
            record |= _examined(options, exam, paths)
            if options.recalibrate:
                record["recalibration"] = _recalibrated(options, exam, device)
            write_text(out / "record.json", as_json(record) + "\n")
            write_text(out / "table.txt", as_text(record, out) + "\n")
            _write_pictures(options, exam, results, paths)
            if options.report:
                write_report(out, record, data, exam.truth, paths)
    return record


def _load(options: Options) -> Dataset:
    """The dataset, with the windows that were asked for."""
    data = load_dataset(options.dataset, data_dir=options.data_dir, align_clock=options.align_clock)
    if options.windows is None:
        return data
    return rewindow(
        data,
        windows=options.windows,
        stride=options.stride or data.prediction_length,
        history=options.history or "expanding",
    )


def _check(options: Options, data: Dataset) -> None:
    """Everything that can be known to make training fail before it does."""
    if options.predictor is not None:
        return
    make_estimator(options, data, options.seeds[0], "cpu", out=options.out)
    train = data.train[0]["target"].shape[1] - options.validation_windows * data.prediction_length
    if train <= data.prediction_length:
        raise InputError(
            f"{data.name} has {max(train, 0)} training steps left for a horizon of "
            f"{data.prediction_length}, so there is no window to train on; "
            "give more data or fewer --validation-windows"
        )
    if options.nll and all(
        np.isnan(one).any() for one in split(data.test, data.prediction_length)[1]
    ):
        raise InputError(
            f"every test window of {data.name} has missing targets, so there is no likelihood to report; "
            "leave out --nll"
        )
    if options.validation_windows and options.model.schedule == "learned":
        raise InputError(
            "a learned schedule has no validation loss that compares between epochs; leave out "
            "--validation-windows, or choose another schedule"
        )


def _paths(options: Options, record: dict[str, Any]) -> dict[str, np.ndarray]:
    """Paths ``[W, S, T, D]`` of the first seed and of all baselines, as memory maps, by their names."""
    files = {OURS: seed_folder(options, options.seeds[0]) / "paths.npy"}
    files |= {name: paths_file(options, name) for name in record["baselines"]}
    return {name: np.load(file, mmap_mode="r") for name, file in files.items()}


def _examined(options: Options, exam: Exam, paths: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a record has beside the scores: what chance the number of paths leaves, and where entrants err."""
    if not options.report:
        return {}
    found: dict[str, Any] = {
        "diagnosis": {name: _diagnosed(exam, own) for name, own in paths.items()}
    }
    if options.num_samples >= FEWEST:
        found["metrics_mc_error"] = monte_carlo_error(
            paths[OURS], exam.truth, seasonal_error=exam.seasonal
        )
    return found


def _recalibrated(options: Options, exam: Exam, device: str) -> dict[str, Any]:
    """Scores before and after, and the diagnosis of the first seed's paths afterwards."""
    found = recalibrated(options, exam, device)
    if options.report:
        found["diagnosis"] = _diagnosed(exam, recalibrated_paths(options, options.seeds[0]))
    return found


def _diagnosed(exam: Exam, paths: np.ndarray) -> dict[str, Any]:
    times = np.stack([stamps(entry, exam.data.prediction_length) for entry in exam.data.test])
    return diagnose(paths, exam.truth, columns=exam.data.columns, stamps=times, progress=True)


def _write_pictures(
    options: Options, exam: Exam, results: list[dict[str, Any]], paths: dict[str, np.ndarray]
) -> None:
    """The table of all paths, and the pictures."""
    own = [np.load(seed_folder(options, s) / "paths.npy", mmap_mode="r") for s in options.seeds]
    write_forecasts(options, exam.data, own)
    _draw(options, exam.data, paths)
    if options.nll:
        found = [result["nll"] for result in results]
        figure = bound_figure(
            np.asarray([one["terms"] for one in found], dtype=float),
            log_scale=np.asarray([one["log_scale"] for one in found]),
            title=f"{exam.data.name}: variational bound",
        )
        save_figure(figure, options.out / "nll.png")


def _draw(options: Options, data: Dataset, paths: dict[str, np.ndarray]) -> None:
    """The last window: paths of the first seed and of the seasonal naive, where that was asked for."""
    entry, horizon = data.test[-1], data.prediction_length
    shown = entry["target"][:, -5 * horizon :].T
    naive = paths.get("seasonal_naive")
    figure = forecast_figure(
        shown[:-horizon],
        shown[-horizon:],
        np.asarray(paths[OURS][-1]),
        columns=data.columns,
        stamps=stamps(entry, len(shown)),
        title=f"{data.name}: last test window",
        baseline=None if naive is None else np.asarray(naive[-1]),
        baseline_name="seasonal naive",
    )
    save_figure(figure, options.out / "forecast.png")
