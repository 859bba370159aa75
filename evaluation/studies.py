"""Comparisons of variants of the default, each a table by one command.

    python evaluation/studies.py width --data-dir FOLDER
    python evaluation/studies.py denoiser --data-dir FOLDER
    python evaluation/studies.py positions --data-dir FOLDER

``width`` compares widths of the denoiser at as many steps, ``denoiser`` the kinds of it at as much training
time, ``positions`` shares of the time steps in the loss, at as many steps and at as much time.

Every variant is trained on what comes before the validation windows (the last 14 horizons of the training
data, which end before the test windows), three seeds each, one thread a run, and scores the validation
windows. A variant is chosen by mean CRPS_sum over both sets relative to the default's. Then, once, it and the
default are trained on all training data and score the test windows. Finished runs are kept in --work and not
repeated.
Writes ``evaluation/results/NAME.json`` and prints the table. `factors.py` uses the same machinery.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from study import RESULTS, cached, finish, forecast, mean_of, parser_of, processes, train

from timediff import ModelConfig, TrainConfig, load_dataset, score
from timediff.data.entry import hold_out

DATASETS = ("citylearn2022", "rts_gmlc")
SEEDS = (1, 2, 3)
VALIDATION_WINDOWS = 14
STEPS = 500
SECONDS = 60.0
SHARES = (1.0, 0.5, 0.25)
NAMES = ("width", "denoiser", "positions")
SCORE = "mean_wquantile_loss_sum"
SHOWN = (SCORE, "energy_score", "nd", "coverage_90")


class Variant(NamedTuple):
    """What a run differs in from the default: options of the network and of its training."""

    model: dict[str, Any]
    train: dict[str, Any]


class Place(NamedTuple):
    """Where runs find their data and leave their results, and the paths they draw."""

    work: Path
    data_dir: Path
    num_samples: int


#: Variants of each data set by name.
Variants = dict[str, dict[str, Variant]]
#: The `summary` of each variant of each data set.
Table = dict[str, dict[str, dict[str, Any]]]
#: Runs variants and makes their table.
Runner = Callable[..., Table]


def run(place: Place, dataset: str, variant: Variant, seed: int, test: bool) -> dict[str, Any]:
    """Scores of one training; from its file if it is there already."""
    options = {**variant.model, **variant.train, "num_samples": place.num_samples}
    words = "+".join(f"{k}={v}" for k, v in sorted(options.items()))
    file = place.work / f"{dataset}-{'test' if test else 'validation'}-{words}-{seed}.json"
    return cached(file, partial(_scored, place, dataset, variant, seed, test))


def _scored(place: Place, dataset: str, variant: Variant, seed: int, test: bool) -> dict[str, Any]:
    data = load_dataset(dataset, data_dir=place.data_dir)
    (training,), windows, horizon = data.train, data.test, data.prediction_length
    if not test:
        training, windows = hold_out(training, horizon, VALIDATION_WINDOWS)
    model, options = ModelConfig(**variant.model), TrainConfig(**variant.train, seed=seed)
    trained = train([training], horizon, model=model, train=options)
    drawn = forecast(trained.predictor, windows, horizon, num_samples=place.num_samples, seed=seed)
    return {
        "seed": seed,
        "metrics": score(drawn.paths, drawn.truth),
        "seconds": {"training": trained.seconds, "sampling": drawn.seconds},
        "steps": trained.steps,
    }


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard error and single values of the scores shown; means of steps and seconds."""
    found: dict[str, Any] = {}
    for name in SHOWN:
        found[name] = mean_of([result["metrics"][name] for result in results])
    found["steps"] = sum(result["steps"] for result in results) / len(results)
    for part in ("training", "sampling"):
        found[f"{part}_seconds"] = sum(r["seconds"][part] for r in results) / len(results)
    return found


@contextmanager
def runner(place: Place, jobs: int) -> Iterator[Runner]:
    """``table(variants, test=...)``, which runs each variant with every seed, ``jobs`` at a time."""
    place.work.mkdir(parents=True, exist_ok=True)
    with processes(jobs) as pool:

        def table(variants: Variants, *, test: bool) -> Table:
            running = {
                (d, name, seed): pool.submit(run, place, d, variant, seed, test)
                for d, named in variants.items()
                for name, variant in named.items()
                for seed in SEEDS
            }
            for (d, name, seed), job in running.items():
                print(f"{d} {name} {seed}: {job.result()['metrics'][SCORE]:.4f}", flush=True)
            return {
                d: {name: summary([running[d, name, s].result() for s in SEEDS]) for name in named}
                for d, named in variants.items()
            }

        yield table


def everywhere(named: dict[str, Variant]) -> Variants:
    """The same variants on every data set."""
    return dict.fromkeys(DATASETS, named)


def relative(table: Table, variant: str, default: str) -> float:
    """Mean over the data sets of a variant's score over the default's."""
    ratios = [
        rows[variant][SCORE]["mean"] / rows[default][SCORE]["mean"] for rows in table.values()
    ]
    return sum(ratios) / len(ratios)


def best(ratios: dict[str, float]) -> str:
    return min(ratios, key=lambda name: ratios[name])


def smallest(ratios: dict[str, float]) -> str:
    """The first within 1 % of the best; variants come in the order of their size."""
    return next(name for name, ratio in ratios.items() if ratio <= 1.01 * min(ratios.values()))


class Study(NamedTuple):
    """A comparison.

    Attributes:
        variants: In the order in which they are shown.
        default: The name of the default among them.
        rule: How the choice was made, in words.
        choose: The choice by the ratios to the default's score.
    """

    variants: dict[str, Variant]
    default: str
    rule: str = "the best"
    choose: Callable[[dict[str, float]], str] = best


def study(name: str, steps: int, seconds: float) -> Study:
    """The comparison of this name, at a training of so many steps, or of so many seconds."""
    length = {"steps": steps}
    if name == "width":
        widths = {str(w): Variant({"denoiser_width": w}, length) for w in (32, 64, 128, 256)}
        return Study(widths, "128", "the smallest within 1 % of the best", smallest)
    if name == "positions":
        shares = {f"{share:g}": Variant({}, {**length, "positions": share}) for share in SHARES}
        return Study(shares, "1")
    kinds = {
        "conv": {"denoiser": "conv", "denoiser_layers": 8, "denoiser_width": 8},
        "mlp": {},
        "attention": {"denoiser": "attention", "denoiser_layers": 2, "denoiser_width": 32},
    }
    budget = {"time_budget": seconds}
    return Study({kind: Variant(options, budget) for kind, options in kinds.items()}, "mlp")


def same_time(table: Table, shares: dict[str, Variant]) -> Variants:
    """The smaller shares with as many more steps as take the time of the whole on each data set."""
    found: Variants = {}
    for d, rows in table.items():
        found[d] = {}
        for name, (model, options) in list(shares.items())[1:]:
            speed = rows["1"]["training_seconds"] / rows[name]["training_seconds"]
            steps = max(1, round(options["steps"] * speed))
            found[d][f"{name}, same time"] = Variant(model, {**options, "steps": steps})
    return found


def conduct(name: str, chosen_study: Study, table: Runner) -> dict[str, Any]:
    """Validation scores of all variants, the choice, and test scores of default and choice."""
    variants, default, rule, choose = chosen_study
    wanted = everywhere(variants)
    validation = table(wanted, test=False)
    if name == "positions":
        more = same_time(validation, variants)
        longer = table(more, test=False)
        wanted = {d: wanted[d] | more[d] for d in wanted}
        validation = {d: validation[d] | longer[d] for d in wanted}
    names = next(iter(wanted.values()))
    ratios = {variant: relative(validation, variant, default) for variant in names}
    choice = choose(ratios)
    finalists = {d: {v: wanted[d][v] for v in dict.fromkeys((default, choice))} for d in wanted}
    return {
        "variants": {d: {v: o._asdict() for v, o in named.items()} for d, named in wanted.items()},
        "default": default,
        "validation_windows": VALIDATION_WINDOWS,
        "validation": validation,
        "relative": ratios,
        "rule": rule,
        "choice": choice,
        "test": table(finalists, test=True),
    }


def as_text(record: dict[str, Any]) -> str:
    """The tables of all windows and data sets, for a terminal."""
    lines = []
    for part in ("validation", "test"):
        for dataset, rows in record[part].items():
            lines.append(f"\n{dataset}, {part} windows, {len(SEEDS)} seeds")
            heads = (*SHOWN, "steps", "training s", "sampling s")
            lines.append(f"{'':24s}" + "".join(f"{head[:22]:>24s}" for head in heads))
            for name, row in rows.items():
                cells = "".join(f"{row[s]['mean']:15.4f} ± {row[s]['se']:.4f}" for s in SHOWN)
                keys = ("steps", "training_seconds", "sampling_seconds")
                lines.append(f"{name:24s}{cells}" + "".join(f"{row[key]:24.1f}" for key in keys))
    return "\n".join(lines)


def make_parser(description: str, work: str) -> argparse.ArgumentParser:
    """The options of every comparison."""
    parser = parser_of(description, work)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a training; fewer to try it")
    parser.add_argument("--num-samples", type=int, default=100, help="paths; fewer to try it")
    parser.add_argument("--out", type=Path, help="the record; default in results/")
    return parser


def main() -> None:
    parser = make_parser(__doc__.split("\n")[0] if __doc__ else "", "runs/studies")
    parser.add_argument("name", choices=NAMES)
    parser.set_defaults(work=None)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a training of denoiser")
    args = parser.parse_args()
    chosen = study(args.name, args.steps, args.seconds)
    place = Place(args.work or Path("runs") / args.name, args.data_dir, args.num_samples)
    with runner(place, args.jobs) as table:
        record = conduct(args.name, chosen, table)
    length = f"--seconds {args.seconds:g}" if args.name == "denoiser" else f"--steps {args.steps}"
    command = f"python evaluation/studies.py {args.name} --data-dir FOLDER {length}"
    finish({"command": command, **record}, args.out or RESULTS / f"{args.name}.json")
    print(as_text(record))
    print(f"\n{record['rule']}: {record['choice']}")


if __name__ == "__main__":
    main()
