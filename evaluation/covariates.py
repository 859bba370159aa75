"""What covariates are worth: holidays, weather, a sensor, and what one of pure noise costs.

python evaluation/covariates.py --data-dir FOLDER [--seeds 1 2 3] [--jobs 2] [--studies holidays ...]

Every study trains the default with and without a covariate on the same data and forecasts the same windows of
24 hours; ratios are of CRPS_sum over a group of windows and series, with to without, each over all of its
windows. What is measured in the future is perfect foresight: no weather forecast is as good.

holidays: US federal holidays. The windows are all such days after training that lack no value, and every 36th
    day. gefcom2012_load20 is trained before 2006 and traffic_pems20 before 2016.
weather: citylearn2022, its four weather columns, the last 28 days.
sensor: the same, solar_1 as what is known of the sky over the other sixteen roofs.
noise: the same, a row of standard normal numbers.

Beside the studies, what is known of a covariate without a model: how far a holiday's total lies from those of
the same weekdays of the four weeks before, and the largest correlation of any day's weather, shifted by whole
days, with the production of the solar roofs.

Finished runs are kept in --work. Writes the record evaluation/results/covariates.json.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from study import RESULTS, cached, finish, forecast, mean_of, parser_of, processes, train

from timediff import ModelConfig, TrainConfig
from timediff.data.entry import cut_entry
from timediff.data.holidays import holiday_features
from timediff.metrics import mean_wquantile_loss, sum_over_dimensions

HORIZON, DAYS, STRIDE = 24, 28, 36
CITY = Path(__file__).resolve().parents[1] / "datasets" / "citylearn2022"


class Study(NamedTuple):
    """Data ``[D, T]`` that are trained on before a step, windows that end with their truth, and their groups.

    Args:
        whole: The entry.
        first: The first step after training.
        ends: Ends of windows.
        groups: Which windows and which series are scored together.
        model: The default with the covariate, where that is an option of it.
        fields: The covariate, where it is a field.
    """

    whole: dict[str, Any]
    first: int
    ends: list[int]
    groups: dict[str, tuple[np.ndarray, np.ndarray]]
    model: ModelConfig
    fields: dict[str, np.ndarray]


def holidays(data_dir: Path, name: str, year: int) -> Study:
    """A table whose training ends with the last step before a year."""
    table = pd.read_parquet(data_dir / name / "data.parquet")
    start, target = pd.Period(table.index[0], "h"), table.to_numpy("f4").T
    first = (pd.Period(f"{year}-01-01", "h") - start).n
    off = holiday_features("US", start, target.shape[1])[0] > 0
    midnight = np.arange(first, target.shape[1] - HORIZON, HORIZON)
    every = np.arange(len(midnight)) % STRIDE == 0
    whole = np.array([np.isfinite(target[:, o : o + HORIZON]).all() for o in midnight])
    kept = whole & (off[midnight] | every)
    origins = midnight[kept]
    series = np.ones(len(target), dtype=bool)
    return Study(
        {"start": start, "target": target},
        first,
        [int(o) + HORIZON for o in origins],
        {"holidays": (off[origins], series), "elsewhere": (~off[origins], series)},
        ModelConfig(holidays="US"),
        {},
    )


def city(fields: dict[str, np.ndarray], *, without: tuple[str, ...] = ()) -> Study:
    """The last days of the embedded set, without some of its series."""
    table = pd.read_parquet(CITY / "data.parquet").drop(columns=list(without))
    whole = {"start": pd.Period(table.index[0], "h"), "target": table.to_numpy("f4").T}
    length = len(table)
    first = length - DAYS * HORIZON
    solar, every = table.columns.str.startswith("solar"), np.ones(DAYS, dtype=bool)
    return Study(
        whole,
        first,
        list(range(first + HORIZON, length + 1, HORIZON)),
        {"solar": (every, solar), "load": (every, ~solar), "all": (every, solar | ~solar)},
        ModelConfig(),
        fields,
    )


def moments(deviations: pd.Series) -> dict[str, float]:
    """Count, mean, its standard error, and spread of some days' deviations."""
    here = deviations.dropna()
    spread = float(here.std())
    return {
        "days": len(here),
        "mean": float(here.mean()),
        "se": spread / len(here) ** 0.5,
        "spread": spread,
    }


def effect_of_holidays(data_dir: Path, name: str, year: int) -> dict[str, dict[str, float]]:
    """Log of days' totals over those of the same weekdays of the four weeks before, without holidays."""
    table = pd.read_parquet(data_dir / name / "data.parquet")
    hourly = table.sum(axis=1, min_count=table.shape[1])
    totals = hourly.resample("D").sum(min_count=24)
    start = pd.Period(totals.index[0], "D")
    off = pd.Series(holiday_features("US", start, len(totals))[0] > 0, totals.index)
    weeks = [totals.where(~off).shift(7 * k) for k in range(1, 5)]
    deviations = np.log(totals / pd.concat(weeks, axis=1).mean(axis=1))
    before = totals.index.year < year
    return {
        "holidays before": moments(deviations[off & before]),
        "holidays after": moments(deviations[off & ~before]),
        "other days": moments(deviations[~off]),
    }


def weather_at_shifts(reach: int = 15) -> dict[str, dict[str, float]]:
    """Correlation of days' solar production with weather, unshifted, and the largest of all shifts by days.

    Of deviations from the mean of the 31 days around; shifts go round the year.
    """

    def deviations(values: pd.Series) -> np.ndarray:
        days = values.to_numpy(float).reshape(-1, HORIZON).sum(axis=1)
        around = np.pad(days, reach, mode="reflect")
        return days - np.convolve(around, np.ones(2 * reach + 1) / (2 * reach + 1), "valid")

    table = pd.read_parquet(CITY / "data.parquet")
    solar = deviations(table.filter(regex="^solar").sum(axis=1))
    found = {}
    for name, column in pd.read_parquet(CITY / "covariates.parquet").items():
        given = deviations(column)
        all_shifts = [np.corrcoef(solar, np.roll(given, k))[0, 1] for k in range(len(solar))]
        largest = max(all_shifts, key=abs)
        found[str(name)] = {"unshifted": float(all_shifts[0]), "largest": float(largest)}
    return found


def make(study: str, data_dir: Path) -> Study:
    """The study of a name."""
    if study == "weather":
        weather = pd.read_parquet(CITY / "covariates.parquet")
        return city({"feat_dynamic_real": weather.to_numpy().T})
    if study == "noise":
        length = len(pd.read_parquet(CITY / "covariates.parquet"))
        numbers = np.random.default_rng(5).normal(size=(1, length))
        return city({"feat_dynamic_real": numbers})
    if study == "sensor":
        roof = pd.read_parquet(CITY / "data.parquet")["solar_1"].to_numpy()
        return city({"feat_dynamic_real": roof[None]}, without=("solar_1",))
    return holidays(data_dir, DATA[study], YEARS[study])


#: Each study, and what its runs without a covariate are called: two share theirs.
DATA = {
    "holidays": "gefcom2012_load20",
    "weather": "citylearn2022",
    "noise": "citylearn2022",
    "sensor": "citylearn2022 without solar_1",
    "holidays, traffic": "traffic_pems20",
}


#: Year before which the studies of holidays are trained.
YEARS = {"holidays": 2006, "holidays, traffic": 2016}


def run(study: str, data_dir: Path, given: bool, seed: int) -> dict[str, Any]:
    """CRPS_sum of every group by one training."""
    made = make(study, data_dir)
    whole = made.whole | (made.fields if given else {})
    trained = train(
        [cut_entry(whole, end=made.first)],
        HORIZON,
        model=made.model if given else ModelConfig(),
        train=TrainConfig(seed=seed),
    )
    windows = [cut_entry(whole, end=end) for end in made.ends]
    paths, truth, _ = forecast(trained.predictor, windows, HORIZON, num_samples=100, seed=seed)
    scores = {
        name: mean_wquantile_loss(*sum_over_dimensions(paths[w][..., d], truth[w][..., d]))
        for name, (w, d) in made.groups.items()
    }
    windows_of = {name: int(w.sum()) for name, (w, _) in made.groups.items()}
    return {
        "scores": scores,
        "windows": windows_of,
        "seconds": trained.seconds,
        "network_share": trained.predictor.choices["network_share"],
        "penalty": trained.predictor.choices["penalty"],
    }


def main() -> int:
    parser = parser_of(__doc__, "runs/covariates")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--studies", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=RESULTS / "covariates.json")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    with processes(options.jobs) as pool:
        jobs = {
            (study, given, seed): pool.submit(
                cached,
                options.work / f"{study if given else DATA[study]}-{'with' * given}-{seed}.json",
                partial(run, study, options.data_dir, given, seed),
            )
            for seed in options.seeds
            for study in options.studies
            for given in (False, True)
        }
        results: dict[str, Any] = {}
        for study in options.studies:
            without, given = (
                [jobs[study, which, seed].result() for seed in options.seeds]
                for which in (False, True)
            )
            results[study] = {
                name: {
                    "windows": count,
                    "without": [each["scores"][name] for each in without],
                    "with": [each["scores"][name] for each in given],
                    "ratio": mean_of(
                        [
                            b["scores"][name] / a["scores"][name]
                            for a, b in zip(without, given, strict=True)
                        ]
                    ),
                }
                for name, count in given[0]["windows"].items()
            }
            for name, row in results[study].items():
                print(f"{study}, {name}: {row['ratio']['mean']:.3f}", flush=True)
    record = {
        "horizon": HORIZON,
        "seeds": options.seeds,
        "results": results,
        "effects": {
            study: effect_of_holidays(options.data_dir, DATA[study], YEARS[study])
            for study in options.studies
            if study in YEARS
        },
        "weather": weather_at_shifts(),
    }
    finish(record, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
