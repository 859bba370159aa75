"""One factor of the diffusion model at a time around the default, then the best of each together.

    python evaluation/factors.py --data-dir FOLDER

trains every variant on what comes before the validation windows (the last 14 horizons of the training data,
which end before the test windows), three seeds each, one thread a run, and scores the validation windows. The
best level of each factor, by mean CRPS_sum over both sets relative to the default's, makes the combination,
which is trained in the same way. Then, once, default and combination are trained on all training data and
score the test windows. Finished runs are kept in --work and not repeated. Writes
``evaluation/results/factors.json`` and prints the table.
"""

from typing import Any

from studies import (
    VALIDATION_WINDOWS,
    Place,
    Table,
    Variant,
    Variants,
    as_text,
    everywhere,
    make_parser,
    relative,
    runner,
)
from study import RESULTS, finish

DEFAULT = "default"
#: Each factor's levels beside the default's own (v, weighted as noise; learned; linear).
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "parameterisation": {
        "noise": {"parameterisation": "noise"},
        "x0": {"parameterisation": "x0"},
    },
    "variance": {"small": {"variance": "small"}, "large": {"variance": "large"}},
    "schedule": {"cosine": {"schedule": "cosine"}},
}
VARIANTS = {name: options for levels in FACTORS.values() for name, options in levels.items()}


def combination(table: Table) -> tuple[list[str], dict[str, Any]]:
    """The best level of each factor where it beats the default's, and the options they stand for."""
    names, options = [], {}
    for levels in FACTORS.values():
        best = min(levels, key=lambda name: relative(table, name, DEFAULT))
        if relative(table, best, DEFAULT) < 1:
            names.append(best)
            options |= levels[best]
    return names, options


def main() -> None:
    parser = make_parser(__doc__.split("\n")[0] if __doc__ else "", "runs/factors")
    args = parser.parse_args()

    def variants(named: dict[str, dict[str, Any]]) -> Variants:
        return everywhere({k: Variant(model, {"steps": args.steps}) for k, model in named.items()})

    place = Place(args.work, args.data_dir, args.num_samples)
    with runner(place, args.jobs) as table:
        validation = table(variants({DEFAULT: {}, **VARIANTS}), test=False)
        names, options = combination(validation)
        finalists: dict[str, dict[str, Any]] = {DEFAULT: {}}
        if len(names) > 1:
            together = table(variants({"combination": options}), test=False)
            validation = {d: rows | together[d] for d, rows in validation.items()}
        if names:
            finalists["combination"] = options
        test = table(variants(finalists), test=True)
    record = {
        "command": "python evaluation/factors.py --data-dir FOLDER",
        "steps": args.steps,
        "validation_windows": VALIDATION_WINDOWS,
        "factors": FACTORS,
        "validation": validation,
        "combination": names,
        "options": options,
        "test": test,
    }
    finish(record, args.out or RESULTS / "factors.json")
    print(as_text(record))
    print(f"\ncombination: {', '.join(names) or 'the default itself'}")


if __name__ == "__main__":
    main()
