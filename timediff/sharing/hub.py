"""Trained models shared as repositories of a model hub, or as folders laid out like one.

A repository is the folder that `save` or `serialize` writes, and a card. Only files of these names are
fetched, and what is fetched is read as any saved model: JSON and safetensors, no pickles, and no name of a
class or part that is not known before is imported (`timediff.gluon.storage`).
"""

import re
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

from timediff.arguments import checked
from timediff.benchmark.record import Record, read_record
from timediff.errors import InputError
from timediff.forecaster.forecaster import Forecaster
from timediff.gluon.paths import PathPredictor
from timediff.kinds import shortened, shown
from timediff.sharing.card import Facts, check_record, model_card
from timediff.tools.device import check_device, device_of
from timediff.tools.files import plain, whole_folder, write_text

__all__ = ["FILES", "Model", "from_pretrained", "push_to_hub", "save_pretrained"]

Model: TypeAlias = Forecaster | PathPredictor

_CARD = "README.md"
_PREDICTOR = (
    "gluonts-config.json",
    "predictor.json",
    "weights.safetensors",
    "weights-2.safetensors",
)
#: All that is fetched of a repository.
FILES = (
    _CARD,
    *_PREDICTOR,
    *("forecaster.json", "data.safetensors"),
    *(f"predictor/{name}" for name in _PREDICTOR),
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@checked
def save_pretrained(
    model: Any,
    path: str | Path,
    *,
    record: Any = None,
    licence: str | None = None,
    training_data: bool = False,
    overwrite: bool = False,
    repo: str | None = None,
) -> None:
    """Writes a model and its card into a folder, as a repository of a hub has them, whole or not at all.

    Args:
        model: A trained `timediff.Forecaster` or `timediff.TimeGradPredictor`.
        path: The folder.
        record: Of the model's evaluation: the folder that ``timediff evaluate`` wrote, or what `read_record`
            returns. Its scores and what it says of the data make the card.
        licence: Of the model, as hubs call it, such as "apache-2.0".
        training_data: Whether the training data of a forecaster go along.
        overwrite: Replace an earlier model there.
        repo: What the card calls the model; the folder when left out.

    Raises:
        InputError: It is no trained model, the record is of another, or something is there already.
    """
    folder = Path(path)
    facts = _facts(model, training_data=training_data)
    if record is not None and not isinstance(record, Record):
        record = read_record(record)
    if record is not None:
        check_record(record, facts)
    if folder.exists() and not _replaceable(folder, overwrite=overwrite):
        raise InputError(
            f"{folder} is there already; give another path"
            + ("" if overwrite else ", or overwrite=True to replace a model that was saved there")
        )
    card = model_card(facts, repo or str(path), record, licence)
    with whole_folder(folder) as part:
        if isinstance(model, Forecaster):
            model.save(part, training_data=training_data)
        else:
            model.serialize(part)
        write_text(part / _CARD, card)


@checked
def push_to_hub(
    model: Any,
    repo: str,
    *,
    record: Any = None,
    licence: str | None = None,
    training_data: bool = False,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Share a model of timediff",
) -> str:
    """Uploads a model and its card to a repository of Hugging Face's hub; needs the extra hub.

    Args:
        model: A trained `timediff.Forecaster` or `timediff.TimeGradPredictor`.
        repo: Owner and name, "someone/net-load"; made if it is not there.
        record: As in `save_pretrained`.
        licence: As in `save_pretrained`.
        training_data: Whether the training data of a forecaster go along, for all who may read there.
        private: Whether a repository that is made is for its owner only; as the account has it if left out.
        token: Of the account; that of ``hf auth login`` when left out.
        revision: Branch.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        InputError: It is no trained model, the record is of another, or the hub refuses.
    """
    if not _REPOSITORY.fullmatch(repo):
        raise InputError(
            f"repo is {repo!r}; give owner and name, such as someone/net-load, or a folder to save_pretrained"
        )
    hub = _hub()
    with tempfile.TemporaryDirectory(prefix="timediff-") as place:
        folder = Path(place) / "model"
        save_pretrained(
            model, folder, record=record, licence=licence, training_data=training_data, repo=repo
        )
        api = hub.HfApi(token=token, library_name="timediff")
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                revision=revision,
                commit_message=message,
                delete_patterns=list(FILES),  # of an earlier model
            )
        except Exception as error:  # the network and the hub may fail in any way
            raise _not_had(f"{repo} could not be written", error) from error
    return str(done.commit_url)


@checked
def from_pretrained(
    path_or_repo: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Any:
    """The model of a folder, or of a repository of Hugging Face's hub, which needs the extra hub.

    Args:
        path_or_repo: A folder that `save_pretrained`, `Forecaster.save` or `TimeGradPredictor.serialize`
            wrote, or owner and name of a repository.
        revision: Branch, tag or commit of a repository; a commit is always the same model.
        token: As in `push_to_hub`.
        device: "auto", "cpu", "cuda" or "cuda:1".
        progress: As of `timediff.Forecaster`.

    Returns:
        A `timediff.Forecaster` or a `timediff.TimeGradPredictor`.

    Raises:
        InputError: There is none, it cannot be fetched, or its files are damaged or name what is not known.
    """
    check_device(device)
    folder = Path(path_or_repo)
    if folder.is_dir():
        if revision is not None:
            raise InputError(
                f"revision is {revision!r}, but {folder} is a folder here, which has none; leave it out"
            )
    else:
        folder = _fetched(str(path_or_repo), revision, token)
    if (folder / "forecaster.json").is_file():
        forecaster = Forecaster.load(folder, progress=progress)
        forecaster.fitted.predictor.to(device_of(device))
        return forecaster
    if (folder / "predictor.json").is_file():
        from timediff.gluon.predictor import TimeGradPredictor  # loads Lightning

        return TimeGradPredictor.deserialize(folder, device)
    raise InputError(
        f"{path_or_repo} holds no model of timediff, neither forecaster.json nor predictor.json; give another"
    )


def _fetched(repo: str, revision: str | None, token: str | None) -> Path:
    """The folder that a repository was fetched to."""
    if not _REPOSITORY.fullmatch(repo):
        raise InputError(
            f"there is no folder {shown(repo)}; give one, or owner and name of a repository"
        )
    try:
        hub = _hub()
    except InputError as error:
        raise InputError(f"there is no folder {repo}, and {error}") from None
    try:
        place = hub.snapshot_download(
            repo,
            revision=revision,
            token=token,
            allow_patterns=list(FILES),
            library_name="timediff",
        )
    except Exception as error:  # the network and the hub may fail in any way
        raise _not_had(
            f"there is no folder {repo}, and no such repository could be fetched", error
        ) from error
    return Path(place)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "the package huggingface_hub is not installed; install timediff with its extra [hub]"
        ) from error
    return huggingface_hub


def _not_had(what: str, error: Exception) -> InputError:
    reason = shortened(str(error) or type(error).__name__, 200)
    return InputError(
        f"{what} ({type(error).__name__}: {reason}); see to name, account and network"
    )


def _replaceable(folder: Path, *, overwrite: bool) -> bool:
    """Whether what is at a path may be replaced: nothing, or with ``overwrite`` an earlier model."""
    if not folder.is_dir():
        return False
    ours = any((folder / name).is_file() for name in ("forecaster.json", "predictor.json"))
    return not any(folder.iterdir()) or (ours and overwrite)


def _facts(model: Any, *, training_data: bool) -> Facts:
    """What a model says of itself.

    Raises:
        InputError: It is none, or was not trained.
    """
    if isinstance(model, Forecaster):
        fitted = model.fitted
        predictor, layout = fitted.predictor, fitted.layout
        names, freq = layout.names, layout.freq
        covariates = [*layout.futr, *layout.hist, *layout.stat]
        with_data = training_data and fitted.has_data
    elif isinstance(model, PathPredictor):
        predictor, freq, with_data = model, model.freq, False
        shape = predictor.prediction_net.shape
        names = model.names or list(range(shape.target_dim))
        covariates = list(dict.fromkeys(one.field for one in shape.covariates))
    else:
        raise InputError(
            f"the model is {shown(model)}; give a trained timediff.Forecaster or TimeGradPredictor"
        )
    network = predictor.prediction_net
    return Facts(
        kind="Forecaster" if isinstance(model, Forecaster) else "TimeGradPredictor",
        series=names,
        freq=freq,
        horizon=predictor.prediction_length,
        history=network.shape.history_length,
        covariates=covariates,
        model=plain(network.config._asdict()),
        parameters=sum(weight.numel() for weight in network.parameters()),
        with_data=with_data,
        keeps_errors=network.config.linear and network.trajectories.errors.numel() > 0,
    )
