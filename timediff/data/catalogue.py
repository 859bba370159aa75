"""What is known about each named dataset before any file is read: facts only, no code.

The six benchmark sets are those of Salinas et al. (2019), arXiv:1910.03002, as GluonTS hands them
out under the names `*_nips`, `taxi_30min` and `wiki-rolling_nips`. The hashes are of the original
JSON files inside the published archives; `checksum` is that of what `load_dataset` makes of them
(see `timediff.data.readers.contents.checksum`) and is missing where we never had the whole set.
"""

from typing import NamedTuple

__all__ = ["SPECS", "Published", "Spec"]

_ROOT = "https://raw.githubusercontent.com/mbohlkeschneider/gluon-ts/mv_release/datasets/"
_WIKI = "https://github.com/awslabs/gluonts/raw/1553651ca1fca63a16e012b8927bd9ce72b8e79e/datasets/"


class Published(NamedTuple):
    """A published score: mean and, as printed there, standard deviation over runs."""

    model: str
    value: float
    error: float
    metric: str = "mean_wquantile_loss_sum"
    source: str = "Rasul et al. (2021), arXiv:2101.12072, Table 2"


class Spec(NamedTuple):
    """Static facts of one named dataset.

    Args:
        folder: Name of its folder in the GluonTS layout.
        dims: Series used.
        series: Series in the files; the first `dims` of each block are used.
        train_length: Steps of the training series.
        originals: SHA-256 of original JSON files, by path inside the archive's folder.
        checksum: SHA-256 of the loaded set, None where not known.
        url: The archive, None for the set that comes with the package.
    """

    name: str
    folder: str
    dims: int
    series: int
    freq: str
    prediction_length: int
    windows: int
    train_length: int
    source: str
    licence: str
    url: str | None = None
    originals: dict[str, str] = {}  # noqa: RUF012 (never changed)
    checksum: str | None = None
    published: tuple[Published, ...] = ()


SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            name="citylearn2022",
            folder="citylearn2022",
            dims=34,
            series=34,
            freq="H",
            prediction_length=24,
            windows=7,
            train_length=8592,
            source="PyPI CityLearn 2.2b0, citylearn_challenge_2022_phase_all",
            licence="MIT",
            checksum="2f59dc27e3fdf57291b3379700c5122c3796bbd319106f73360795a1526ce1f8",
        ),
        Spec(
            name="electricity",
            folder="electricity_nips",
            dims=370,
            series=370,
            freq="H",
            prediction_length=24,
            windows=7,
            train_length=5833,
            source="UCI ElectricityLoadDiagrams20112014, hourly",
            licence="CC BY 4.0 (UCI)",
            url=_ROOT + "electricity_nips.tar.gz",
            originals={
                "train/data.json": "5bbfd427ce8c8a94729c40038a77f860cf7624b25650c7a5b92a78261f222bd1",
                "test/data.json": "2cdcdd84b6ea7bb459ce0f4c9bd908afea13a2f1df5331f26f1d22283bc3de53",
            },
            published=(Published("TimeGrad", 0.0206, 0.001),),
        ),
        Spec(
            name="exchange_rate",
            folder="exchange_rate_nips",
            dims=8,
            series=8,
            freq="B",
            prediction_length=30,
            windows=5,
            train_length=6071,
            source="laiguokun/multivariate-time-series-data, 8 currencies 1990-2016",
            licence="archive Apache-2.0, rates: none stated",
            url=_ROOT + "exchange_rate_nips.tar.gz",
            originals={
                "train/train.json": "113cf0dd5663117cce7c9ae8e2487fe1c53360a8f8a744c5176ddcec85a91d77",
            },
            checksum="337e7c848b9d16852cd88cd5851cd81b2ba6215064a6aac6a73ff0dea9f45c09",
            published=(Published("TimeGrad", 0.006, 0.001),),
        ),
        Spec(
            name="solar",
            folder="solar_nips",
            dims=137,
            series=137,
            freq="H",
            prediction_length=24,
            windows=7,
            train_length=7009,
            source="NREL Solar Power Data for Integration Studies, Alabama 2006, hourly",
            licence="none stated",
            url=_ROOT + "solar_nips.tar.gz",
            originals={
                "train/train.json": "039f3d191e8abcef96d12d4516f24547f51452f51549235942af85bd0c508a82",
                "test/test.json": "e11c387c56522bd22d2c83a7573286fba7810ddaecc0474b5be0568f501e3929",
            },
            published=(Published("TimeGrad", 0.287, 0.020),),
        ),
        Spec(
            name="traffic",
            folder="traffic_nips",
            dims=963,
            series=963,
            freq="H",
            prediction_length=24,
            windows=7,
            train_length=4001,
            source="UCI PEMS-SF, hourly",
            licence="CC BY 4.0 (UCI)",
            url=_ROOT + "traffic_nips.tar.gz",
            originals={
                "train/data.json": "4b2a7e5242b9f7e0a9e61381128a0408e9b6ac15142fe52333c25d5956be95b0",
                "test/data.json": "462731894f18a1435c72ad3571604231346de16128f65af2e5b471a05c9b405f",
            },
            published=(Published("TimeGrad", 0.044, 0.006),),
        ),
        Spec(
            name="taxi",
            folder="taxi_30min",
            dims=1214,
            series=1214,
            freq="30min",
            prediction_length=24,
            windows=56,
            train_length=1488,
            source="New York City TLC trip records, half-hourly",
            licence="none stated",
            url=_ROOT + "taxi_30min.tar.gz",
            originals={
                "train/train.json": "9a15f2167703ffb138c7083208fe30aeb371fa6aa64651eee050f34784f21ee3",
                "test/test.json": "2a1dfc7a9f30f1c6eb3310807523ddf77e749ca020209ae5219c798e8944be03",
            },
            published=(Published("TimeGrad", 0.114, 0.020),),
        ),
        Spec(
            name="wikipedia",
            folder="wiki-rolling_nips",
            dims=2000,
            series=9535,
            freq="D",
            prediction_length=30,
            windows=5,
            train_length=792,
            source="Wikipedia page views, the first 2000 of 9535 pages",
            licence="none stated",
            url=_WIKI + "wiki-rolling_nips.tar.gz",
            originals={
                "train/train.json": "62a9ff85ab702be259a23f57d01b44dc68110c82e4655508544e5de0e9e4895c",
                "test/test.json": "0ab0b86fbd236e8cf12ef2b23edf8caf6826803489fcfd24b966786248c7b5b6",
            },
            published=(Published("TimeGrad", 0.0485, 0.002),),
        ),
    )
}
