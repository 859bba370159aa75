"""Fetches a published archive and turns it into a folder in the GluonTS layout.

All work happens in a temporary folder inside the target folder. The finished dataset moves to its
name in one atomic step, so whatever carries the name is whole; an interrupted run leaves nothing
that a later one would trust.
"""

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

import orjson
from tqdm import tqdm

from timediff.data.catalogue import Spec
from timediff.data.readers.gluonts_folder import missing_part, parse_line
from timediff.errors import InputError
from timediff.frequency import to_period_freq

__all__ = ["fetch"]

_TIMEOUT_SECONDS = 30
_CHUNK = 1 << 20


def fetch(spec: Spec, cache: Path) -> Path:
    """The folder ``cache / spec.folder`` of a dataset, after it was downloaded, checked and converted.

    Raises:
        InputError: No network, a broken transfer, a wrong hash, or a cache that cannot be written.
    """
    assert spec.url is not None
    way_out = (
        f"check the network, put the folder {spec.folder} in --data-dir, "
        "or use the embedded dataset citylearn2022"
    )
    folder = cache / spec.folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{spec.folder}-", dir=cache) as temporary:
            work = Path(temporary)
            archive = work / "archive.tar.gz"
            _download(spec.url, archive, label=spec.name)
            originals = _extract(archive, work / "original")
            archive.unlink()
            _check_hashes(spec, originals)
            _convert(spec, originals, work / spec.folder)
            _install(work / spec.folder, folder)
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"dataset {spec.name} could not be fetched from {spec.url} to {cache} ({reason}): "
            f"{way_out}"
        ) from error
    return folder


def _download(url: str, target: Path, *, label: str) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        bar = tqdm(total=total, desc=f"download {label}", unit="B", unit_scale=True)
        received = 0
        with bar, target.open("wb") as out:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    # A connection that closes early looks like the end of the file to the reader above.
    if total is not None and received != total:
        raise OSError(f"cut off after {received} of {total} bytes")


def _extract(archive: Path, target: Path) -> dict[str, Path]:
    """The JSON files of train and test, by ``split/name``; other members are left in the archive."""
    originals = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            split, name = ("", *PurePosixPath(member.name).parts)[-2:]
            wanted = split in ("train", "test") and name.endswith(".json") and name[0] not in "._"
            if not (member.isfile() and wanted):
                continue
            content = tar.extractfile(member)
            assert content is not None
            path = target / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as out:
                shutil.copyfileobj(content, out, _CHUNK)
            originals[f"{split}/{name}"] = path
    return originals


def _check_hashes(spec: Spec, originals: dict[str, Path]) -> None:
    for name, expected in spec.originals.items():
        if name not in originals:
            raise OSError(f"the archive has no {name}")
        with originals[name].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected:
            raise OSError(
                f"{name} has SHA-256 {digest[:12]}..., the published file has {expected[:12]}..."
            )


def _convert(spec: Spec, originals: dict[str, Path], folder: Path) -> None:
    """Writes the folder as GluonTS does, so that GluonTS can use it from its cache as well."""
    total = spec.series * (1 + spec.windows)
    with tqdm(total=total, desc=f"convert {spec.name}", unit=" series") as bar:
        for split in ("train", "test"):
            (folder / split).mkdir(parents=True)
            paths = [originals[name] for name in sorted(originals) if name.startswith(split)]
            with gzip.open(folder / split / "data.json.gz", "wb", compresslevel=4) as out:
                count = 0
                for path in paths:
                    with path.open("rb") as lines:
                        for line in lines:
                            out.write(_converted_line(spec, line, count))
                            count += 1
                            bar.update()
            expected = spec.series * (1 if split == "train" else spec.windows)
            if count != expected:
                raise OSError(f"the archive has {count} {split} series instead of {expected}")
    metadata = {
        "freq": to_period_freq(spec.freq),
        "target": None,
        "feat_static_cat": [{"name": "feat_static_cat_0", "cardinality": str(spec.series)}],
        "feat_static_real": [],
        "feat_dynamic_real": [],
        "feat_dynamic_cat": [],
        "prediction_length": spec.prediction_length,
    }
    (folder / "metadata.json").write_bytes(orjson.dumps(metadata))


def _converted_line(spec: Spec, line: bytes, count: int) -> bytes:
    try:
        entry = parse_line(line)
        kept = {"target": entry["target"], "start": entry["start"]}
    except (ValueError, TypeError, KeyError):
        raise OSError(f"series {count} of the archive has no start and target") from None
    kept |= {"feat_static_cat": [count % spec.series], "item_id": count}
    return orjson.dumps(kept, option=orjson.OPT_APPEND_NEWLINE)


def _install(finished: Path, folder: Path) -> None:
    try:
        os.replace(finished, folder)
    except OSError:
        # Another process may have finished first; its folder is as good as ours.
        if missing_part(folder) is not None:
            raise
