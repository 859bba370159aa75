"""The wire format of a served model, read and checked: Hugging Face's task "time-series-forecasting".

Field names and shapes are those of its schema (``inputs``, ``parameters``, ``outputs``), with a few of ours:
``channels`` names the columns of ``target``, ``group`` the table that a series is of, ``seed`` repeats a
forecast, and covariates may have a column for each channel. JSON is strict: NaN is written as null.

Axes: ``T`` known steps, ``H`` steps of the forecast, ``D`` channels, ``S`` sample paths.
"""

from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.types import FailFast

from timediff.errors import InputError
from timediff.kinds import shortened, shown

__all__ = [
    "MOST_METADATA",
    "Item",
    "Output",
    "Parameters",
    "QuantilePrediction",
    "Request",
    "Response",
    "parsed",
]

#: Bytes of an item's metadata, as the schema has it.
MOST_METADATA = 4096
_Row = Annotated[list[float | None], FailFast(), Field(min_length=1)]
_Rows = Annotated[list[_Row], FailFast(), Field(min_length=1)]
#: Of a covariate by name: for each step a number or category, or a row with one for each channel.
_Covariates = dict[str, list[Any]]


class _Strict(BaseModel):
    # Nothing is converted: "3" and true are no numbers here.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Item(_Strict):
    """A history to forecast."""

    target: _Rows
    start: str | None = None
    past_covariates: _Covariates = {}
    future_covariates: _Covariates = {}
    static_covariates: dict[str, float] = {}
    metadata: dict[str, Any] | None = None
    channels: list[Any] | None = None
    group: Any = None


class Parameters(_Strict):
    """What is asked for."""

    prediction_length: Annotated[int, Field(ge=1)] | None = None
    frequency: str | None = None
    quantile_levels: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], FailFast()] = []
    num_samples: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Request(_Strict):
    """The body of a request."""

    inputs: Annotated[list[Item], FailFast(), Field(min_length=1)]
    parameters: Parameters = Parameters()


class QuantilePrediction(BaseModel):
    """A quantile of each channel and step by itself."""

    level: float
    values: list[list[float]]


class Output(BaseModel):
    """The forecast of an item: rows are steps, columns channels."""

    mean: list[list[float]]
    quantile_predictions: list[QuantilePrediction] | None = None
    samples: list[list[list[float]]] | None = None
    timestamps: list[str]
    channels: list[Any]
    metadata: dict[str, Any] | None = None


class Response(BaseModel):
    """The answer: an output for each input, in their order, and the seed that repeats it."""

    outputs: list[Output]
    seed: int


def parsed(body: bytes) -> Request:
    """The request that a body holds.

    Raises:
        InputError: It is no JSON, or not what the schema says; the first fault is named.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"the body is no JSON ({shortened(str(error), 120)}); unknown values are null, NaN is none of it"
        ) from None
    try:
        request = Request.model_validate(content)
    except ValidationError as error:
        raise InputError(_sentence(error)) from None
    levels = request.parameters.quantile_levels
    if len(set(levels)) < len(levels):
        raise InputError("parameters.quantile_levels has a level twice; give each once")
    for place, item in enumerate(request.inputs):
        if item.metadata is not None and len(orjson.dumps(item.metadata)) > MOST_METADATA:
            raise InputError(
                f"inputs[{place}].metadata has more than {MOST_METADATA} bytes; give less"
            )
    return request


#: What a value must be, by the kind of pydantic's error.
_MUST = {
    "float_type": "a number or null",
    "int_type": "a whole number",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
}

_WRITTEN = {None: "null", True: "true", False: "false"}


def _sentence(error: ValidationError) -> str:
    """What is wrong first, in one sentence."""
    first = error.errors(include_url=False)[0]
    where, kind = first["loc"], first["type"]
    place, owner = (_place(part) or "the body" for part in (where, where[:-1]))
    if kind == "missing":
        return f"{owner} has no field {str(where[-1])!r}; give it"
    if kind == "extra_forbidden":
        return (
            f"{owner} has the field {shown(where[-1])}, which is none of {_fields_of(where[:-1])}; "
            "leave it out"
        )
    if kind == "too_short":
        return f"{place} is empty; give at least one"
    given = _WRITTEN.get(first["input"]) if isinstance(first["input"], bool | None) else None
    given = given or shown(first["input"])
    if kind in _MUST:
        return f"{place} is {given}; it must be {_MUST[kind].format(**first.get('ctx', {}))}"
    return f"{place} is {given}: {shortened(first['msg'])}"


def _place(where: tuple[int | str, ...]) -> str:
    """Where a value stands, as it would be written: inputs[0].target[3][1]."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() or not text:
            text += f".{part}" if text else part
        else:
            text += f"[{shortened(part)!r}]"
    return text


def _fields_of(where: tuple[int | str, ...]) -> str:
    """Fields that the object at a place may have."""
    of: dict[tuple[int | str, ...], type[BaseModel]] = {(): Request, ("parameters",): Parameters}
    return ", ".join(of.get(where, Item).model_fields)
