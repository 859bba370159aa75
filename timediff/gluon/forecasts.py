"""From data entries to forecasts: plain and what-if paths of their windows, as GluonTS hands them out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import TYPE_CHECKING, Any

import numpy as np
from gluonts.model.forecast import SampleForecast
from torch import Tensor

from timediff.data.entry import noise_seed
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.gluon.entries import Series, warn_of_short_history
from timediff.gluon.windows import forecast_batch
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.whatif import miscounted, path_steps, sample_given
from timediff.tools.progress import progress_bar

if TYPE_CHECKING:
    from timediff.gluon.paths import PathPredictor

__all__ = ["forecasts", "seed_of"]


def forecasts(
    predictor: "PathPredictor",
    dataset: Iterable[Mapping[str, Any]],
    futures: list[Tensor | None] | None,
    *,
    num_samples: int,
    num_particles: int,
    seed: int,
    progress: bool,
) -> Iterator[SampleForecast]:
    """Forecasts of every entry, in order.

    Args:
        predictor: The model, and how paths are drawn.
        dataset: GluonTS entries.
        futures: The values given of each entry's future (`timediff.timegrad.whatif.read_given`), if any.
        num_samples: S.
        num_particles: Particles of each what-if forecast.
        seed: Of the paths (`timediff.data.entry.noise_seed`).
        progress: Show a progress bar on stderr.

    Raises:
        InputError: As `TimeGradPredictor.predict` does, of entries and of what is given.
    """
    network = predictor.prediction_net
    counts = {"num_samples": num_samples, "num_particles": num_particles}
    total = None
    if isinstance(dataset, Sized):
        plain = network.steps_of(num_samples)
        steps = [plain if f is None else path_steps(f, **counts) for f in futures or ()]
        total = plain * len(dataset) if futures is None else sum(steps)
    title = f"sampling, {network.network_calls(predictor.sampling)} network calls a path"
    first = 0
    with progress_bar(title, total=total, shown=progress) as bar:
        for batch in predictor.batches(dataset):
            end = first + len(batch)
            warn_of_short_history(batch, needed=network.shape.history_length)
            known: list[Tensor | None] = [None] * len(batch)
            if futures is not None:
                known = futures[first:end]
            if len(known) < len(batch):
                raise miscounted(first + len(known), "more")
            seeds = [
                seed_of(series, seed, place=place) for place, series in enumerate(batch, first)
            ]
            windows = _windows(predictor, batch, known, first, seeds, bar.update, **counts)
            for series, (paths, details) in zip(batch, windows, strict=True):
                yield _forecast(series, paths, details, lead_time=predictor.lead_time)
            first = end
    if futures is not None and first < len(futures):
        raise miscounted(len(futures), first)


def _windows(
    predictor: "PathPredictor",
    all_series: list[Series],
    known: list[Tensor | None],
    first: int,
    seeds: list[int],
    on_step: Callable[[int], None],
    *,
    num_samples: int,
    num_particles: int,
) -> Iterator[tuple[Tensor, dict[str, float]]]:
    """Paths ``[S, T, D]`` of entries ``first`` and on, lead time included, and what is to be said of them.

    Plain forecasts are drawn together, what-if forecasts one by one when they are asked for.
    """
    model: TimeGrad = predictor.prediction_net
    model.eval()
    inputs = forecast_batch(all_series, model.shape)
    batch = inputs.to(predictor.device)
    options: dict[str, Any] = {
        "num_samples": num_samples,
        "sampling": predictor.sampling,
        "on_step": on_step,
    }
    plain: Iterator[Tensor] = iter(())
    if free := [i for i, values in enumerate(known) if values is None]:
        plain = model.draw(
            batch.rows(free),
            seeds=[seeds[i] for i in free],
            memory=predictor.memory,
            compiler=predictor.compiler,
            **options,
        )
    for i, values in enumerate(known):
        if values is None:
            yield next(plain), {}
            continue
        window = batch.rows(slice(i, i + 1))
        try:
            paths, size = sample_given(
                model, window, values, seed=seeds[i], num_particles=num_particles, **options
            )
        except InputError as error:
            raise type(error)(f"entry {first + i} ({all_series[i].name}): {error}") from error
        yield paths, {"effective_size": size, "num_particles": num_particles}


def seed_of(series: Series, seed: int, *, place: int, known: int = 0) -> int:
    """The seed of the steps after a series, or of the last ones, the ``known``, given those before them.

    With a lead time it is that of the first step after the series, too, from which on paths are drawn.
    """
    with quiet_business_days():
        start = series.start + len(series.values) - known
    return noise_seed(seed, start, item_id=series.entry.get("item_id"), place=place)


def _forecast(
    series: Series, paths: Tensor, details: dict[str, float], *, lead_time: int
) -> SampleForecast:
    """Paths ``[S, T, D]`` without the lead time, and what they are of."""
    with quiet_business_days():
        start = series.start + len(series.values) + lead_time
    if not bool(paths.isfinite().all()):
        raise InputError(
            f"the forecast of {series.name} is not finite: its values, or those that the model was trained "
            "on, are too large for float32; give them in a larger unit"
        )
    samples, info = paths[:, lead_time:].numpy(), series.entry.get("info")
    item_id = series.entry.get("item_id")
    # The layout of the forecast follows that of the target.
    flat = np.ndim(series.entry["target"]) == 1
    return SampleForecast(
        samples=samples[..., 0] if flat else samples,
        start_date=start,
        item_id=None if item_id is None else str(item_id),
        info={**(info or {}), **details} if details else info,
    )
