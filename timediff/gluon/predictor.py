"""The trained model as a GluonTS predictor, and the files it is kept in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import SampleForecast
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Chain
from torch import Tensor

from timediff.checks import check_sampling
from timediff.config import SamplingConfig
from timediff.errors import InputError
from timediff.frequency import quiet_business_days
from timediff.gluon import storage
from timediff.gluon.entries import Series, check_series, read_entry
from timediff.gluon.windows import LastWindows, WindowData, forecast_batch
from timediff.timegrad.batch import Batch
from timediff.timegrad.density import Density, Future, complete, future, window_density
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.noise import PATHS_PER_STREAM
from timediff.timegrad.whatif import check_whatif, miscounted, path_steps, read_given, sample_given
from timediff.tools.progress import progress_bar


class TimeGradPredictor(PyTorchPredictor):
    """Draws joint sample paths. Made by `TimeGradEstimator.train`.

    Args:
        prediction_net: The trained model.
        sampling: How paths are drawn. An attribute too, to be set to another at any time.
        freq: Period frequency of the data.
        prediction_length: Steps of a forecast.
        lead_time: Steps between the end of the data and the forecast. They are sampled and left out.
        batch_size: Windows that are encoded at a time.
        memory: Bytes that the paths drawn at a time may take.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        distilled: Steps of the only chain that a distilled network knows
            (`timediff.gluon.distill.distill`); None for a network that knows them all.
    """

    # GluonTS's @validated would try to encode the network: `serialize` below knows what to write.
    def __init__(
        self,
        prediction_net: TimeGrad,
        *,
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008 (immutable)
        freq: str,
        prediction_length: int,
        lead_time: int = 0,
        batch_size: int = 32,
        memory: float = 512e6,
        device: str = "auto",
        distilled: int | None = None,
    ) -> None:
        super().__init__(
            input_names=list(Batch._fields),
            # Some of torch's kernels depend on whether weights have gradients, by a last digit.
            prediction_net=prediction_net.eval().requires_grad_(False),
            batch_size=batch_size,
            prediction_length=prediction_length,
            input_transform=Chain([]),
            lead_time=lead_time,
            device=device,
        )
        self.freq, self.memory, self.sampling = freq, memory, sampling
        self.distilled = distilled

    def predict(
        self,
        dataset: Iterable[Mapping[str, Any]],
        num_samples: int | None = 100,
        *,
        known_future: Any = None,
        num_particles: int = 1000,
        seed: int | None = None,
        progress: bool = True,
    ) -> Iterator[SampleForecast]:
        """Forecasts of every entry, in order.

        With ``known_future`` they are what-if forecasts: paths that agree with the given values, drawn
        jointly from the model under that condition by weighted particles (`timediff.timegrad.whatif`).
        Given values come back exactly. The forecast's ``info`` then holds ``effective_size``, how many
        different paths the particles are worth where they are worth least, and ``num_particles``; below an
        effective size of 20 the forecast is refused. Many dimensions given at once after steps that are
        not, and series with heavy tails or constant hours given over many steps, leave few; more particles
        leave more in proportion, and whole steps given from the first one on cost nothing. Fewer sampling
        steps do no harm.

        Args:
            dataset: GluonTS entries, target ``[D, T]`` (``[T]`` for one dimension).
            num_samples: S. Paths are drawn ten at a time, so 1 takes as long as 10.
            known_future: Values of the forecast's steps, ``[T, D]`` (or ``[T]`` for one dimension) with NaN
                where unknown, for a dataset of one entry; else a list with such an array or None for each.
            num_particles: Particles of each what-if forecast. It takes as long as so many paths, and the
                memory of all of them at a time, whatever ``memory`` is.
            seed: The same seed gives the same paths; drawn from torch's generator when left out.
            progress: Show a progress bar on stderr.

        Returns:
            `SampleForecast` with samples ``[S, T, D]``, or ``[S, T]`` for entries with a target ``[T]``.

        Raises:
            InputError: ``num_samples`` is not positive, an entry does not fit the model, ``sampling``
                makes no sense, or ``known_future`` does not fit the dataset or the model.
        """
        check_sampling(self.sampling, self.prediction_net.config)
        walked = (self.sampling.sampler, self.sampling.spacing, self.sampling.steps)
        if self.distilled is not None and walked != ("ddim", "uniform", self.distilled):
            raise self._knows_too_little("be sampled in another way")
        num_samples = 100 if num_samples is None else num_samples
        for name, count in (("num_samples", num_samples), ("num_particles", num_particles)):
            if not isinstance(count, Integral):
                raise InputError(f"{name} is {count!r}; it must be a whole number")
        if num_samples < 1:
            raise InputError(f"num_samples is {num_samples}; it must be at least 1")
        given = None
        if known_future is not None:
            if self.distilled is not None:
                raise self._knows_too_little("give what-if forecasts")
            given = read_given(
                known_future,
                entries=len(dataset) if isinstance(dataset, Sized) else None,
                horizon=self.prediction_length,
                target_dim=self.prediction_net.shape.target_dim,
                lead_time=self.lead_time,
            )
            if any(values is not None for values in given):
                check_whatif(self.sampling, num_samples=num_samples, num_particles=num_particles)
        if seed is None:
            seed = int(torch.randint(2**31, ()))
        return self._predict(dataset, given, num_samples, num_particles, seed, progress)

    def _predict(
        self,
        dataset: Iterable[Mapping[str, Any]],
        given: list[Tensor | None] | None,
        num_samples: int,
        num_particles: int,
        seed: int,
        progress: bool,
    ) -> Iterator[SampleForecast]:
        known: list[Tensor | None]
        sizes = {"num_samples": num_samples, "num_particles": num_particles}
        total, count = None, 0
        if isinstance(dataset, Sized):
            rows = -(-num_samples // PATHS_PER_STREAM) * PATHS_PER_STREAM
            plain = rows * self.prediction_net.shape.horizon
            known = [None] * len(dataset) if given is None else given
            total = sum(plain if one is None else path_steps(one, **sizes) for one in known)
        calls = self.prediction_net.network_calls(self.sampling)
        title = f"sampling, {calls} network calls a path"
        with progress_bar(title, total=total, shown=progress) as bar:
            for series in self._batches(dataset):
                end = count + len(series)
                known = [None] * len(series) if given is None else given[count:end]
                if len(known) < len(series):
                    raise miscounted(count + len(known), "more")
                drawn = self._draw(series, known, count, seed, bar.update, **sizes)
                for one, (paths, told) in zip(series, drawn, strict=True):
                    with quiet_business_days():
                        start = one.start + len(one.values) + self.lead_time
                    entry, samples = one.entry, paths[:, self.lead_time :].numpy()
                    # The layout of the forecast follows that of the target.
                    flat = np.ndim(entry["target"]) == 1
                    info = entry.get("info")
                    yield SampleForecast(
                        samples=samples[..., 0] if flat else samples,
                        start_date=start,
                        item_id=entry.get("item_id"),
                        info={**(info or {}), **told} if told else info,
                    )
                count = end
        if given is not None and count < len(given):
            raise miscounted(len(given), count)

    def _draw(
        self,
        series: list[Series],
        known: list[Tensor | None],
        first: int,
        seed: int,
        on_step: Callable[[int], None],
        *,
        num_samples: int,
        num_particles: int,
    ) -> Iterator[tuple[Tensor, dict[str, float]]]:
        """Paths ``[S, T, D]`` of entries ``first`` and on, lead time included, and what to tell of them.

        Plain forecasts are drawn together, what-if forecasts one by one when they are asked for.
        """
        model: TimeGrad = self.prediction_net
        model.eval()
        batch = Batch(*(x.to(self.device) for x in forecast_batch(series, model.shape)))
        seeds = [_mix(seed, first + i) for i in range(len(series))]
        options: dict[str, Any] = {
            "num_samples": num_samples,
            "sampling": self.sampling,
            "on_step": on_step,
        }
        free = [i for i, values in enumerate(known) if values is None]
        if free:
            part, own = Batch(*(x[free] for x in batch)), [seeds[i] for i in free]
            paths = model.draw(part, seeds=own, memory=self.memory, **options)
        for i, values in enumerate(known):
            if values is None:
                yield next(paths), {}
                continue
            alone = Batch(*(x[i : i + 1] for x in batch))
            try:
                found, size = sample_given(
                    model, alone, values, seed=seeds[i], num_particles=num_particles, **options
                )
            except InputError as error:
                raise InputError(f"entry {first + i} ({series[i].name}): {error}") from error
            yield found, {"effective_size": size, "num_particles": num_particles}

    def future(self, dataset: Iterable[Mapping[str, Any]]) -> Future:
        """The model of the last ``lead_time + prediction_length`` steps of entries, given their true past.

        Its denoiser and schedule are what `timediff.diffusion.samplers`, `timediff.diffusion.latent` and
        `timediff.diffusion.bound` take.

        Args:
            dataset: GluonTS entries with their future, without missing targets in it.

        Raises:
            InputError: An entry does not fit the model, or targets are missing.
        """
        if self.distilled is not None:
            raise self._knows_too_little("say how likely a future is")
        model: TimeGrad = self.prediction_net
        model.eval()
        data, series = self._with_future(dataset)
        batch = data.windows(data.ends)
        if len(data.ends) < len(series) or not bool(complete(batch, model=model).all()):
            raise InputError(
                f"an entry has missing targets in its last {model.shape.horizon} steps, or no more steps; "
                "give entries with their whole future"
            )
        return future(model, Batch(*(x.to(self.device) for x in batch)))

    def density(
        self, dataset: Iterable[Mapping[str, Any]], *, seed: int = 0, progress: bool = True
    ) -> tuple[Density, int]:
        """How likely the model finds the last ``lead_time + prediction_length`` steps of every entry.

        Args:
            dataset: GluonTS entries with their future.
            seed: Of the noise of the bound and of the probes of the trace.
            progress: Show a progress bar on stderr.

        Returns:
            Densities of the windows without missing targets, and how many others were left out.

        Raises:
            InputError: An entry does not fit the model, or no window is without missing targets.
        """
        if self.distilled is not None:
            raise self._knows_too_little("say how likely a future is")
        model: TimeGrad = self.prediction_net
        model.eval()
        data, series = self._with_future(dataset)
        generator = torch.Generator().manual_seed(_mix(seed, len(series)))
        found = []
        with progress_bar("likelihood", total=len(data.ends), shown=progress) as bar:
            for batch in LastWindows(data, batch_size=1):
                if bool(complete(batch, model=model).all()):
                    moved = Batch(*(x.to(self.device) for x in batch))
                    found.append(window_density(model, moved, generator=generator))
                bar.update(1)
        if not found:
            raise InputError(
                f"none of {len(series)} windows is without missing targets, so there is no likelihood "
                "to report; leave it out"
            )
        density = Density(*(torch.cat(parts, dim=-1) for parts in zip(*found, strict=True)))
        return density, len(series) - len(found)

    def _knows_too_little(self, wish: str) -> InputError:
        return InputError(
            f"the predictor was distilled to {self.distilled} steps of ddim, evenly spaced; it cannot "
            f"{wish}: its network knows no other noise levels; use the predictor it was distilled from"
        )

    def _with_future(self, dataset: Iterable[Mapping[str, Any]]) -> tuple[WindowData, list[Series]]:
        series = [one for batch in self._batches(dataset) for one in batch]
        if not series:
            raise InputError("the dataset holds no series; give entries with their future")
        return WindowData(series, self.prediction_net.shape), series

    def _batches(self, dataset: Iterable[Mapping[str, Any]]) -> Iterator[list[Series]]:
        batch: list[Series] = []
        for entry in dataset:
            series = read_entry(entry)
            check_series(
                series,
                freq=self.freq,
                target_dim=self.prediction_net.shape.target_dim,
                what="data to forecast",
            )
            batch.append(series)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def serialize(self, path: Path) -> None:
        """Writes three files into the folder ``path`` (`timediff.gluon.storage`)."""
        storage.save(self, Path(path))

    @classmethod
    def deserialize(cls, path: Path, device: str = "auto") -> "TimeGradPredictor":
        """The predictor that `serialize` wrote. No file decides what is imported or run.

        Raises:
            InputError: A file is missing or damaged, or names a class that is not ours.
        """
        path = Path(path)
        model, arguments = storage.load(path)
        try:
            predictor = cls(model, device="cpu", **arguments)
        except Exception as error:  # a damaged file may fail in any way
            raise storage.unreadable(path, error) from error
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"device {device} is not there; give device='cpu'")
        predictor.to(device)
        return predictor


def _mix(seed: int, window: int) -> int:
    return (seed * 7_919 + window * 104_729_000_003) % 2**62
