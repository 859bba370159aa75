"""The training of a command beside what it is to write: its states, until all is done, for ``--resume``.

``--out forecast.csv`` has them in ``.forecast.csv.training``. A folder without a state goes when the command
ends, however it does.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os.path import abspath
from pathlib import Path
from typing import Any

from timediff.cli.said import say
from timediff.cli.tables import reading_of
from timediff.config import Preset
from timediff.errors import InputError
from timediff.tools.files import plain, read_json, write_text

__all__ = ["Training", "add_resume", "settings_of"]

_SETTINGS = "settings.json"


def add_resume(parser: Any) -> None:
    """Adds ``--resume``."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the training of the same command that was stopped, to the same end",
    )


def settings_of(args: Any, configs: Preset) -> dict[str, Any]:
    """What has to stay the same for a training to be the same, by the names of the options.

    Args:
        args: Of the command; its files are told by their content.
        configs: With the seed. How paths are drawn is of no matter to a training.
    """
    model = args.get("from_model")
    return {
        "DATA": _digest([args.data]),
        "--stat-file": _digest([args.stat_file] if args.stat_file else []),
        "--from": _digest(sorted(filter(Path.is_file, model.rglob("*"))) if model else []),
        "--horizon": args.horizon,
        "--stat": args.stat,
        **{f"--{k.replace('_', '-')}": v for k, v in reading_of(args)._asdict().items()},
        **{f"--model.{name}": value for name, value in configs.model._asdict().items()},
        **{f"--train.{name}": value for name, value in configs.train._asdict().items()},
    }


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Training:
    """The states of a command's training.

    Args:
        out: What the command is to write.

    Attributes:
        folder: Where the states are.
    """

    def __init__(self, out: Path) -> None:
        path = Path(abspath(out))
        self.folder = path.with_name(f".{path.name}.training")
        self.is_ours = False

    @contextmanager
    def held(self, settings: dict[str, Any], *, resume: bool, quiet: bool) -> Iterator[None]:
        """Holds the folder for one command alone; it goes at the end of the context.

        Args:
            settings: Of the training (`settings_of`).
            resume: Whether a training that was stopped goes on.
            quiet: Say nothing.

        Raises:
            InputError: Another command holds it, or the training to go on with was another.
        """
        from timediff.benchmark.folder import locked

        with locked(self.folder):
            try:
                self._prepare(plain(settings), resume=resume, quiet=quiet)
                self.is_ours = True
                yield
            except BaseException:
                if not self._has_states():
                    self._remove()
                raise
        self._remove()

    @property
    def is_kept(self) -> bool:
        """Whether this command, given once more with ``--resume``, goes on."""
        return self.is_ours and self._has_states()

    def state(self, *, quiet: bool) -> Path | None:
        """The checkpoint to go on from; None where training begins."""
        if not self._has_states():
            return None
        from timediff.training.checkpoints import latest_state, read_state

        state = latest_state(self.folder)
        if state is not None:
            say(f"training goes on from step {read_state(state)['global_step']}", quiet=quiet)
        return state

    def _has_states(self) -> bool:
        return any(self.folder.glob("checkpoints/*.ckpt"))

    def _remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self, settings: dict[str, Any], *, resume: bool, quiet: bool) -> None:
        file = self.folder / _SETTINGS
        if resume and self._has_states():
            before = _read(file)
            if changed := [name for name in settings if settings[name] != before.get(name)]:
                listed = ", ".join(changed[:5]) + ", ..." * (len(changed) > 5)
                raise InputError(
                    f"the training to go on with was another ({listed} changed); give the same data and "
                    "options, or leave out --resume to begin anew"
                )
            return
        if resume:
            say("there is no training to go on with; it begins anew", quiet=quiet)
        elif self._has_states():
            say(
                "the training that was stopped is given up; --resume would have gone on with it",
                quiet=quiet,
            )
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        write_text(file, json.dumps(settings, indent=1) + "\n")


def _read(file: Path) -> dict[str, Any]:
    """The settings of a training before."""
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}), so that nothing tells of the training to go on with; leave "
            "out --resume to begin anew"
        ) from None
