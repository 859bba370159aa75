"""The trained model as a GluonTS predictor without GluonTS's part for torch, and the files it is kept in.

That part loads Lightning, which takes longer than a forecast: `timediff.gluon.predictor` has the class that
belongs to it, and who only forecasts, as ``timediff predict``, does without.
"""

from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor, RepresentablePredictor
from numpy.typing import NDArray

from timediff.arguments import checked
from timediff.checks import check_sampling
from timediff.config import SamplingConfig
from timediff.data.entry import check_dataset, entries_of
from timediff.errors import InputError
from timediff.gluon import storage
from timediff.gluon.entries import Series, batches_of
from timediff.gluon.forecasts import forecasts, seed_of
from timediff.gluon.foreign import unreadable
from timediff.gluon.joint import are_univariate, joined, parted
from timediff.gluon.windows import LastWindows, WindowData
from timediff.options import Between, Count, Positive
from timediff.timegrad.density import Density, Future, complete, future, window_density
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import Compiler, compile_chain
from timediff.timegrad.soundness import first_fault
from timediff.timegrad.whatif import check_whatif, read_given
from timediff.tools.device import check_device, device_of
from timediff.tools.numbers import plain_array
from timediff.tools.progress import progress_bar
from timediff.tools.seeding import drawn_seed

__all__ = ["PathPredictor"]


class PathPredictor(RepresentablePredictor):
    """A predictor that draws joint sample paths. Made by `TimeGradEstimator.train`.

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
        choices: What training chose from the data, plain values.
        names: Of the dimensions, where they have such. Entries to forecast must have the same, in this order;
            entries with a target ``[T]`` each are put in it by their ``item_id``.
    """

    # GluonTS's @validated would try to encode the network: `serialize` below knows what to write.
    @checked
    def __init__(
        self,
        prediction_net: TimeGrad,
        *,
        sampling: SamplingConfig = SamplingConfig(),  # noqa: B008 (immutable)
        freq: str,
        prediction_length: Count,
        lead_time: Annotated[int, Between(0)] = 0,
        batch_size: Count = 32,
        memory: Positive = 512e6,
        device: str | torch.device = "auto",
        distilled: Annotated[int | None, Between(1)] = None,
        choices: dict[str, Any] | None = None,
        names: list[str] | None = None,
    ) -> None:
        self._begin(
            # Some of torch's kernels depend on whether weights have gradients, by a last digit.
            prediction_net.eval().requires_grad_(False),
            batch_size=batch_size,
            prediction_length=prediction_length,
            lead_time=lead_time,
            device=device_of(str(device)),
        )
        self.freq, self.memory, self.sampling = freq, memory, sampling
        self.distilled = distilled
        #: What training chose from the data, plain values.
        self.choices: dict[str, Any] = choices or {}
        self.names = names
        self.compiler = _compiler()

    def _begin(
        self,
        model: TimeGrad,
        *,
        batch_size: int,
        prediction_length: int,
        lead_time: int,
        device: str,
    ) -> None:
        """What GluonTS sets in a predictor."""
        Predictor.__init__(self, prediction_length, lead_time=lead_time)
        self.batch_size = batch_size
        self.prediction_net = model
        self.to(device)

    def to(self, device: str | torch.device) -> Self:
        """This predictor, with its network on another device."""
        self.device = device
        self.prediction_net = self.prediction_net.to(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Compiled chains are of one process.
        return {name: value for name, value in vars(self).items() if name != "compiler"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.compiler = _compiler()

    @checked
    def predict(
        self,
        dataset: Iterable[Mapping[str, Any]],
        num_samples: Annotated[int | None, Between(1, 1_000_000)] = 100,
        *,
        known_future: Any = None,
        num_particles: Annotated[int, Between(0, 1_000_000)] = 1000,
        seed: Annotated[int | None, Between(0)] = None,
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
            seed: Of the paths, at least 0; drawn from torch's generator when left out. The noise of an entry
                follows from it, the ``item_id`` (where there is none, the place in the dataset) and the
                first step after the target, whatever else is forecast.
            progress: Show a progress bar on stderr.

        Returns:
            `SampleForecast` with samples ``[S, T, D]``, or ``[S, T]`` for entries with a target ``[T]``.

        Raises:
            InputError: ``num_samples`` is not positive, an entry does not fit the model, ``sampling``
                makes no sense, or ``known_future`` does not fit the dataset or the model.
        """
        check_sampling(self.sampling, self.prediction_net.config)
        sampling = self.sampling
        chain = (sampling.sampler, sampling.spacing, sampling.steps)
        if chain != ("ddim", "uniform", self.distilled):
            self._check_not_distilled("be sampled in another way")
        check_dataset(dataset, what := "data to forecast")
        num_samples = 100 if num_samples is None else num_samples
        items: list[Mapping[str, Any]] = []
        if self.names is not None and self.prediction_net.shape.target_dim > 1:
            dataset = list(entries_of(dataset, what))
            if are_univariate(dataset):
                items, dataset = dataset, [joined(dataset, self.names)]
        futures, network = None, self.prediction_net
        self.check_sound()
        if known_future is not None:
            self._check_not_distilled("give what-if forecasts")
            futures = read_given(
                known_future,
                entries=len(dataset) if isinstance(dataset, Sized) else None,
                horizon=self.prediction_length,
                target_dim=network.shape.target_dim,
                lead_time=self.lead_time,
                bounds=network.support.bounds if network.config.bounds is not None else None,
            )
            if any(values is not None for values in futures):
                check_whatif(num_samples=num_samples, num_particles=num_particles)
        if seed is None:
            seed = drawn_seed()
        drawn = forecasts(
            self,
            dataset,
            futures,
            num_samples=num_samples,
            num_particles=num_particles,
            seed=seed,
            progress=progress,
        )
        if not items:
            return drawn
        return (one for whole in drawn for one in parted(whole, items, self.names or []))

    def supported(self, paths: NDArray[np.floating]) -> NDArray[np.floating]:
        """Paths ``[..., D]`` within the bounds and of the whole numbers that forecasts of this model keep to.

        For paths that were changed after they were drawn, by a recalibration say.
        """
        support = self.prediction_net.support
        values = torch.from_numpy(np.ascontiguousarray(plain_array(paths, "paths")))
        values = values.to(support.bounds.device)
        return support(values).cpu().numpy()

    def batches(self, dataset: Iterable[Mapping[str, Any]]) -> Iterator[list[Series]]:
        """The entries of a dataset, checked, as many at a time as are encoded together.

        Raises:
            InputError: An entry does not fit the model.
        """
        target_dim = self.prediction_net.shape.target_dim
        return batches_of(
            dataset, self.batch_size, freq=self.freq, target_dim=target_dim, names=self.names
        )

    def future(self, dataset: Iterable[Mapping[str, Any]]) -> Future:
        """The model of the last ``lead_time + prediction_length`` steps of entries, given their true past.

        Its denoiser and schedule are what `timediff.diffusion.samplers`, `timediff.diffusion.latent` and
        `timediff.diffusion.bound` take.

        Args:
            dataset: GluonTS entries with their future, without missing targets in it.

        Raises:
            InputError: An entry does not fit the model, or targets are missing.
        """
        model, all_series = self._with_future(dataset)
        data = WindowData(all_series, model.shape)
        batch = data.windows(data.ends)
        if len(data.ends) < len(all_series) or not bool(complete(batch, model=model).all()):
            raise InputError(
                f"an entry has missing targets in its last {model.shape.horizon} steps, or no more steps; "
                "give entries with their whole future"
            )
        return future(model, batch.to(self.device))

    @checked
    def density(
        self,
        dataset: Iterable[Mapping[str, Any]],
        *,
        seed: Annotated[int, Between(0)] = 0,
        progress: bool = True,
    ) -> tuple[Density, int]:
        """Densities that the model gives the last ``lead_time + prediction_length`` steps of every entry.

        Args:
            dataset: GluonTS entries with their future.
            seed: Of the noise of the bound and of the probes of the trace, as in `predict`.
            progress: Show a progress bar on stderr.

        Returns:
            Densities of the windows without missing targets, and how many others were left out.

        Raises:
            InputError: An entry does not fit the model, or no window is without missing targets.
        """
        model, all_series = self._with_future(dataset)
        densities = []
        with progress_bar("likelihood", total=len(all_series), shown=progress) as bar:
            for place, series in enumerate(all_series):
                own = seed_of(series, seed, place=place, known=model.shape.horizon)
                for batch in LastWindows(WindowData([series], model.shape), batch_size=1):
                    if bool(complete(batch, model=model).all()):
                        generator = torch.Generator().manual_seed(own)
                        moved = batch.to(self.device)
                        densities.append(window_density(model, moved, generator=generator))
                bar.update(1)
        if not densities:
            raise InputError(
                f"none of {len(all_series)} windows is without missing targets, so there is no likelihood "
                "to report; leave it out"
            )
        density = Density(*(torch.cat(parts, dim=-1) for parts in zip(*densities, strict=True)))
        return density, len(all_series) - len(densities)

    def _with_future(self, dataset: Iterable[Mapping[str, Any]]) -> tuple[TimeGrad, list[Series]]:
        """The model, and entries with their future."""
        self._check_not_distilled("say how likely a future is")
        self.check_sound()
        all_series = [series for batch in self.batches(dataset) for series in batch]
        if not all_series:
            raise InputError("the dataset holds no series; give entries with their future")
        model: TimeGrad = self.prediction_net
        return model.eval(), all_series

    def check_sound(self) -> None:
        """Raises `InputError` if the model holds numbers that no forecast can be made with."""
        if (fault := first_fault(self.prediction_net)) is not None:
            raise InputError(
                f"the model cannot forecast: its {fault}; train it again, on data in a larger unit if their "
                "numbers are huge, or load what was saved of it"
            )

    def _check_not_distilled(self, wish: str) -> None:
        """Raises `InputError` if the network was distilled, and knows too few noise levels for a wish."""
        if self.distilled is not None:
            raise InputError(
                f"the predictor was distilled to {self.distilled} steps of ddim, evenly spaced; it cannot "
                f"{wish}: its network knows no other noise levels; use the predictor it was distilled from"
            )

    @checked
    def serialize(self, path: Path) -> None:
        """Writes three files into the folder ``path`` (`timediff.gluon.storage`)."""
        storage.save(self, path)

    @classmethod
    @checked
    def deserialize(cls, path: Path, device: str | torch.device = "auto") -> Self:
        """The predictor that `serialize` wrote. No file decides what is imported or run.

        Raises:
            InputError: A file is missing or damaged, or names a class that is not ours.
        """
        check_device(str(device))
        device = device_of(str(device))
        model, arguments = storage.load(path)
        try:
            predictor = cls(model, device="cpu", **arguments)
        except Exception as error:  # a damaged file may fail in any way
            raise unreadable(path, error) from error
        predictor.to(device)
        return predictor


def _compiler() -> Compiler:
    """Compiled chains of the last few ways to sample, which go when their predictor goes."""
    return lru_cache(maxsize=4)(compile_chain)
