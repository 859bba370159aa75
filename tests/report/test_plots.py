"""Forecast figures: what is drawn equals what is scored, and odd shapes still give a picture."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from timediff import metrics
from timediff.errors import InputError
from timediff.report.plots import forecast_figure, save_figure


def window(past=60, horizon=12, dimensions=5, members=40, seed=0):
    rng = np.random.default_rng(seed)
    history = 5 + rng.normal(size=(past, dimensions))
    truth = 5 + rng.normal(size=(horizon, dimensions))
    paths = 5 + rng.normal(size=(members, horizon, dimensions))
    return history, truth, paths


def figure(history, truth, paths, **options):
    return forecast_figure(
        history, truth, paths, columns=[f"s{d}" for d in range(truth.shape[1])], **options
    )


def line(axes, label):
    return next(found for found in axes.lines if found.get_label() == label).get_ydata()


def bands(axes):
    """Lower and upper ends of the filled bands, widest first."""
    ends = []
    for band in axes.collections:
        vertices = band.get_paths()[0].vertices
        x = np.unique(vertices[:, 0])
        columns = [vertices[vertices[:, 0] == value, 1] for value in x]
        ends.append(([c.min() for c in columns], [c.max() for c in columns]))
    return ends


def test_panels_show_the_sum_and_the_chosen_series_as_they_are_scored():
    history, truth, paths = window()
    axes = figure(history, truth, paths, series=[3, 0]).axes
    assert [a.get_title(loc="left") for a in axes] == ["Sum of the 5 series", "s3", "s0"]
    sums, total = metrics.sum_over_dimensions(paths, truth)
    for panel, member_paths, observed in (
        (axes[0], sums, total[:, 0]),
        (axes[1], paths[..., 3:4], truth[:, 3]),
        (axes[2], paths[..., 0:1], truth[:, 0]),
    ):
        (start,) = line(panel, "history")[-1:]  # where all of it is joined to the history
        np.testing.assert_allclose(line(panel, "what happened"), [start, *observed])
        middle = metrics.median(member_paths)[:, 0]
        np.testing.assert_allclose(line(panel, "forecast median"), [start, *middle])
        for drawn, level in zip(bands(panel), (0.9, 0.5), strict=True):
            ends = metrics.central_interval(member_paths, level=level)
            np.testing.assert_allclose(drawn, [[start, *end[:, 0]] for end in ends])


def test_now_is_marked_at_the_last_value_and_a_missing_one_joins_nothing():
    history, truth, paths = window(dimensions=1)
    stamps = np.datetime64("2020-01-01") + np.arange(72) * np.timedelta64(1, "h")
    for gap in (False, True):
        history[-1] = np.nan if gap else history[-1]
        axes = figure(history, truth, paths, stamps=stamps).axes[0]
        (now,) = [text for text in axes.texts if text.get_text().strip() == "now"]
        assert now.get_position()[0] == stamps[59]
        assert len(line(axes, "forecast median")) == len(line(axes, "what happened")) == 13 - gap


def test_history_is_cut_to_its_end_and_follows_the_stamps():
    history, truth, paths = window()
    stamps = np.datetime64("2020-01-01") + np.arange(72) * np.timedelta64(1, "h")
    axes = figure(history, truth, paths, stamps=stamps).axes[1]
    shown = next(found for found in axes.lines if found.get_label() == "history")
    np.testing.assert_array_equal(shown.get_xdata(), stamps[-36:-12])


def test_a_baseline_is_one_dashed_line_and_one_legend_entry():
    history, truth, paths = window()
    made = figure(history, truth, paths, baseline=paths[:7] + 1, baseline_name="naive")
    drawn = line(made.axes[0], "naive median")
    sums, _ = metrics.sum_over_dimensions(paths[:7] + 1, truth)
    np.testing.assert_allclose(drawn[1:], metrics.median(sums)[:, 0])
    labels = [text.get_text() for text in made.legends[0].get_texts()]
    assert len(made.legends) == 1 and len(set(labels)) == len(labels) == 6
    assert all(panel.get_legend() is None for panel in made.axes)


def test_default_series_are_large_middle_and_small_and_vary():
    history, truth, paths = window(dimensions=6)
    truth *= [1, 100, 10, 1000, 0, 0.1]
    names = [a.get_title(loc="left") for a in figure(history, truth, paths).axes]
    assert names == ["Sum of the 6 series", "s3", "s2", "s5"]


@pytest.mark.parametrize("dimensions", [1, 2, 5])
@pytest.mark.parametrize("horizon", [1, 2, 12])
@pytest.mark.parametrize("past", [0, 1, 30])
def test_odd_shapes_and_missing_values_give_a_picture(tmp_path, dimensions, horizon, past):
    history, truth, paths = window(past=past, horizon=horizon, dimensions=dimensions)
    history[::2] = np.nan
    truth[:, 0] = np.nan
    made = figure(history, truth, paths[:1], title="odd", unit="kWh", baseline=paths)
    save_figure(made, tmp_path / "odd.png")
    picture = imread(tmp_path / "odd.png")
    assert picture.shape[:2] == ((900, 1200) if dimensions > 1 else (500, 1200))
    assert picture[..., :3].std() > 0.02


def test_values_between_missing_neighbours_stay_visible():
    history, truth, paths = window(past=24, dimensions=1)
    history[10] = history[12] = np.nan
    dots = figure(history, truth, paths).axes[0].lines[-2]
    assert dots.get_marker() == "o"
    np.testing.assert_array_equal(dots.get_ydata(), history[11])


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path):
    made = figure(*window())
    path = tmp_path / "forecast.png"
    path.write_text("old")
    with path.open() as reader:
        save_figure(made, path)
        assert reader.read() == "old"  # replaced, not written over
    assert path.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [path]


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    made = figure(*window())
    path = tmp_path / "forecast.png"
    path.write_text("old")

    def full_disk(part):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(made, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_figure(made, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_wrong_input_is_refused():
    history, truth, paths = window()
    with pytest.raises(InputError, match="shapes"):
        figure(history, truth, paths[:, :3])
    with pytest.raises(InputError, match="shapes"):
        figure(history, truth, paths, baseline=paths[..., :2])
    with pytest.raises(InputError, match="stamp"):
        figure(history, truth, paths, stamps=np.arange(3))
    with pytest.raises(InputError, match="folder"):
        save_figure(figure(history, truth, paths), "/nowhere/at/all/x.png")


def test_importing_the_module_does_not_import_matplotlib():
    check = (
        "import sys, timediff.report.plots; assert not any('matplotlib' in m for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.filterwarnings("error")
def test_dates_of_any_span_are_found_without_a_warning():
    from matplotlib.figure import Figure

    from timediff.report.plots import style_axes

    axes = Figure().subplots()
    style_axes(axes, "", stamped=True)
    start = np.datetime64("2024-04-25T03", "s").item()
    for minutes in [*range(20, 400, 7), *range(400, 6000, 60), *range(6000, 60 * 24 * 2000, 5000)]:
        ticks = axes.xaxis.get_major_locator().tick_values(
            start, start + np.timedelta64(minutes, "m").item()
        )
        assert 2 <= len(ticks) <= 7


@pytest.mark.parametrize("place", ["history", "truth", "paths", "columns", "text", "gradients"])
def test_what_is_no_forecast_is_told_by_its_shape(place):
    history, truth, paths = window()
    given = {"history": history, "truth": truth, "paths": paths, "columns": list("abcde")}
    if place in given:
        given[place] = None
    elif place == "text":
        given["paths"] = "x"
    else:
        given["paths"] = torch.zeros(paths.shape, requires_grad=True)
    with pytest.raises(InputError, match=r"paths \[S, T, D\]|columns is None|not numeric|detach"):
        forecast_figure(**given)
