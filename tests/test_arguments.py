"""Arguments are held against their annotations: numbers of numpy are taken, the rest is one sentence."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import numpy as np
import pytest
import torch

import timediff
from timediff import (
    Forecast,
    Forecaster,
    ModelConfig,
    SamplingConfig,
    TimeGradEstimator,
    TimeGradPredictor,
    TrainConfig,
)
from timediff.arguments import checked
from timediff.checks import CONFIGS, read_fields
from timediff.config import DistillConfig
from timediff.errors import InputError
from timediff.kinds import MisfitError, plain, shown, words
from timediff.options import Between, fields_of


def refusal(call, *args, **values):
    """The sentence of a refused call: one line of bounded length."""
    with pytest.raises(InputError) as caught:
        call(*args, **values)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (np.int64(3), int, 3),
        (np.uint8(3), int, 3),
        (np.int32(3), float, 3.0),
        (np.float32(0.5), float, 0.5),
        (Fraction(1, 4), float, 0.25),
        (2, float, 2.0),
        (np.bool_(True), bool, True),
        (np.str_("a"), str, "a"),
        ("a/b", Path, Path("a/b")),
        (Path("a"), str | Path, Path("a")),
        ((1, np.int64(2)), list[int], [1, 2]),
        (np.arange(3), list[int], [0, 1, 2]),
        (range(2), Sequence[int], [0, 1]),
        (torch.tensor([0.5]), Sequence[float] | None, [0.5]),
        ([[0, None]], list[list[float | None]], [[0.0, None]]),
        (None, int | None, None),
        ("b", Literal["a", "b"], "b"),
        (3, Annotated[int, Between(1)], 3),
        ({"a": 1}, dict[str, Any], {"a": 1}),
        (len, Callable[[str], int], len),
    ],
)
def test_what_fits_becomes_pythons_own(value, kind, read):
    result = plain(value, kind)
    assert result == read and type(result) is type(read)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2.5, int),
        (2.0, int),
        ("2", int),
        (True, int),
        (np.bool_(True), float),
        (1, bool),
        ("no", bool),
        (None, int),
        (10**400, float),
        (b"a", str),
        (5, str),
        (5, str | Path),
        ("abc", Sequence[str]),
        ("abc", list[str]),
        (ModelConfig(), list[Any]),
        ({1, 2}, list[int]),
        (5, list[int]),
        ([1.5], list[int]),
        ([None], list[float]),
        ([1], dict[str, Any]),
        ({5: 1}, dict[str, Any]),
        ("c", Literal["a", "b"]),
        (1, Literal[True]),
        ([1], Literal["a"]),
        (5, Callable[[str], int]),
        ((), ModelConfig),
        (TrainConfig(), ModelConfig),
    ],
)
def test_what_does_not_fit_is_told(value, kind):
    with pytest.raises(MisfitError):
        plain(value, kind)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 10**6, None),
        ([0] * 10**6, "[0, 0, 0, 0, 0, 0, 0, 0, ...]"),
        pytest.param(10**5000, "an int", id="digits"),
        ({"a": np.zeros(10**5)}, None),
        ("two\nlines", None),
        (ModelConfig(), "a ModelConfig"),
        (torch.zeros(3), "a Tensor"),
        (2.5, "2.5"),
        ([1.5], "[1.5]"),
        ("4", "'4'"),
    ],
)
def test_values_are_shown_in_one_short_line(value, text):
    line = shown(value)
    assert len(line) <= 200 and "\n" not in line
    assert text is None or line == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int | None, "a whole number or None"),
        (str | Path, "a text or a path"),
        (Sequence[float] | None, "a list of numbers or None"),
        (list[list[float | None]], "a list of lists of numbers or Nones"),
        (Sequence[Any], "a list"),
        (Literal["a", "b"], "one of a, b"),
        (Literal["expanding"] | int, '"expanding" or a whole number'),
        (ModelConfig, "a ModelConfig"),
        (TimeGradEstimator, "a TimeGradEstimator"),
        (InputError, "an InputError"),
    ],
)
def test_annotations_in_words(kind, text):
    assert words(kind) == text.replace("Nones", "None")


class Owner:
    @checked
    def method(self, count: Annotated[int, Between(1, 10)], *, share: float = 0.5, rest: Any = 0):
        return count, share, rest

    @classmethod
    @checked
    def made(cls, model: ModelConfig = ModelConfig(), **more: int):  # noqa: B008
        return cls, model, more


def test_a_checked_function_is_called_with_plain_values():
    assert Owner().method(np.int64(3), share=1) == (3, 1.0, 0)
    hidden = ModelConfig(hidden_size=np.int64(4), lags=np.array([1, 2]), dropout=0)
    _, model, more = Owner.made(hidden, other=5)
    assert model == ModelConfig(hidden_size=4, lags=[1, 2], dropout=0.0) and more == {"other": 5}
    assert [type(v) for v in (model.hidden_size, model.lags, model.dropout)] == [int, list, float]


@pytest.mark.parametrize(
    ("args", "values", "said"),
    [
        ((), {}, "method: missing a required argument: 'count'"),
        ((1, 2), {}, "method: too many positional arguments"),
        ((1,), {"wings": 2}, "method: got an unexpected keyword argument 'wings'"),
        ((1.5,), {}, "count is 1.5; it must be a whole number"),
        ((0,), {}, "count is 0; it must lie in [1, 10]"),
        ((1,), {"share": "a"}, "share is 'a'; it must be a number"),
        ((1,), {"share": None}, "share is None; it must be a number"),
    ],
)
def test_a_checked_function_refuses_by_name(args, values, said):
    assert refusal(Owner().method, *args, **values) == said


def test_a_field_in_the_wrong_place_is_told_where_it_belongs():
    for call in (TimeGradEstimator, Forecaster):
        said = refusal(call, context_length=48)
        assert f"{call.__name__} has no argument context_length" in said
        assert "give model=ModelConfig(context_length=48)" in said
    said = refusal(TimeGradEstimator, prediction_length=4, learning_rate=0.1)
    assert "give train=TrainConfig(learning_rate=0.1)" in said
    assert "it must be a ModelConfig: give its model" in refusal(
        Forecaster, timediff.PRESETS["paper"]
    )


#: Fields that may be None, or anything in a mapping.
FREE = {"options"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_field_refuses_what_is_of_another_kind(config):
    for name, field in fields_of(config).items():
        if name in FREE:
            continue
        strange = [object(), math.nan, {"a": 1}, b"x"]
        if type(None) not in getattr(field.type, "__args__", ()):
            strange.append(None)
        for value in strange:
            assert name.split("_")[0] in refusal(read_fields, config()._replace(**{name: value}))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_size_has_a_limit_before_memory_is_taken(config):
    sizes = set(config._fields) & {
        *("num_layers", "hidden_size", "context_length", "cond_size", "denoiser_layers"),
        *("denoiser_width", "diffusion_steps", "batch_size", "num_samples"),
    }
    for name in sizes:
        assert f"{name} is 1000000000; it must lie in" in refusal(
            read_fields, config()._replace(**{name: 10**9})
        )


@pytest.mark.parametrize("name", ["lags", "cycles"])
def test_lags_and_cycles_have_a_limit_too(name):
    said = refusal(TimeGradEstimator, 4, model=ModelConfig(**{name: [10**9]}))
    assert said.startswith(f"{name} are [1000000000]")


def test_options_of_a_sampler_become_pythons_own():
    read = read_fields(SamplingConfig("ddim", options={"eta": np.float32(0.5)}))
    assert type(read.options["eta"]) is float
    assert "no option of the sampler" in refusal(read_fields, SamplingConfig(options={"wings": 1}))


@pytest.mark.parametrize(
    "call",
    [
        *(TimeGradEstimator.__init__, TimeGradEstimator.train, TimeGradEstimator.train_from),
        *(TimeGradEstimator.train_model, TimeGradPredictor.__init__, TimeGradPredictor.predict),
        *(TimeGradPredictor.density, TimeGradPredictor.serialize, TimeGradPredictor.deserialize),
        *(Forecaster.__init__, Forecaster.fit, Forecaster.update, Forecaster.cross_validation),
        *(Forecaster.load, Forecaster.save, Forecaster.forecast, Forecaster.simulate),
        *(Forecaster.predict, Forecaster.impute, Forecaster.make_future_dataframe),
        *(Forecaster.get_missing_future, Forecast.quantile, Forecast.summary),
        *(Forecast.sum_over, Forecast.representatives, Forecast.plot, Forecast.probability),
        *(timediff.load_dataset, timediff.distill, timediff.backtest, timediff.compare),
    ],
    ids=lambda call: call.__qualname__,
)
def test_every_public_call_refuses_an_object_for_each_argument(call):
    parameters = [p for p in inspect.signature(call).parameters.values() if p.name != "self"]
    first = () if len(parameters) == len(inspect.signature(call).parameters) else (None,)
    needed = {p.name: example(p.annotation) for p in parameters if p.default is p.empty}
    for parameter in parameters:
        # A dataset may be of any kind that can be gone through (entries_of tells what it is), a group's name
        # too, but for what nothing can be called by.
        if parameter.annotation in (Any, Hashable) or "Iterable" in str(parameter.annotation):
            continue
        said = refusal(call, *first, **needed | {parameter.name: object()})
        assert said.startswith(f"{parameter.name} is an object; it must be ")


def example(annotation):
    """A value that an annotation allows, which need be good for nothing."""
    kind = get_args(annotation)[0] if get_args(annotation) else annotation
    if get_origin(kind) is not None or kind in (int, str, float, Path):
        return {int: 1, str: "x", float: 0.5, Path: Path("x")}.get(kind, [])
    return object.__new__(kind) if isinstance(kind, type) and kind is not Any else None


MISPLACED = [
    (
        lambda: TrainConfig(context_length=48),
        "TrainConfig has no field context_length, which is one of ModelConfig; give "
        "ModelConfig(context_length=48)",
    ),
    (
        lambda: ModelConfig(steps=5),
        "ModelConfig has no field steps, which is one of TrainConfig; give TrainConfig(steps=5)",
    ),
    (
        lambda: SamplingConfig(sampler="ddim", eta=0.5),
        "SamplingConfig has no field eta, an option of the sampler ddim; give "
        'SamplingConfig(sampler="ddim", options={"eta": 0.5})',
    ),
    (
        lambda: TrainConfig(learning_rat=0.1),
        "TrainConfig has no field learning_rat; learning_rate is one",
    ),
    (
        lambda: SamplingConfig(hiden_size=8),
        "SamplingConfig has no field hiden_size; hidden_size of ModelConfig is one",
    ),
    (lambda: ModelConfig(xyzzy=1), "ModelConfig has no field xyzzy; leave it out"),
    (
        lambda: ModelConfig()._replace(steps=5),
        "ModelConfig has no field steps, which is one of TrainConfig; give TrainConfig(steps=5)",
    ),
    (
        lambda: DistillConfig(1, 2, 3, 4, 5, 6),
        "DistillConfig: takes from 1 to 6 positional arguments but 7 were given",
    ),
    (
        lambda: TrainConfig(5, steps=5),
        "TrainConfig: got multiple values for argument 'steps'",
    ),
    (
        lambda: TimeGradEstimator(4, context_length=48),
        "TimeGradEstimator has no argument context_length, which is a field of ModelConfig; give "
        "model=ModelConfig(context_length=48)",
    ),
    (
        lambda: Forecaster(context_length=48),
        "Forecaster has no argument context_length, which is a field of ModelConfig; give "
        "model=ModelConfig(context_length=48)",
    ),
]


@pytest.mark.parametrize(("call", "said"), MISPLACED)
def test_a_field_in_the_wrong_place_is_one_sentence_that_says_whose_it_is(call, said):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == said


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_configurations_stay_named_tuples(kind):
    plain = NamedTuple(kind.__name__, list(kind.__annotations__.items()))
    plain.__new__.__defaults__ = tuple(kind._field_defaults.values())
    assert str(inspect.signature(kind)) == str(inspect.signature(plain))
    config = kind()
    name, value = next(iter(config._asdict().items()))
    other = config._replace(**{name: 7})
    assert other[0] == 7 and other[1:] == config[1:] and type(other) is kind
    for same in (
        pickle.loads(pickle.dumps(config)),
        copy.deepcopy(config),
        kind(*config),
        kind(**config._asdict()),
        kind._make(config),
    ):
        assert type(same) is kind and same == config and same[0] == value
