"""Diagnosis against direct formulas and known cases; the page against what it must hold and must not."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from made_records import HORIZON, MEMBERS, SERIES, a_record, dataset, normal_forecast, read_back

from timediff import metrics
from timediff.benchmark.diagnosis import BINS, BY_HORIZON, COVERAGES, LEVELS, diagnose
from timediff.errors import InputError
from timediff.registry import METRICS
from timediff.report import fans, figures, write, write_report, write_results
from timediff.report.plots import LIGHT
from timediff.report.sections import scores
from timediff.report.text import as_text
from timediff.tools.files import write_text


@pytest.fixture(scope="module")
def gappy():
    paths, truth = normal_forecast(5)
    truth[0, 2, 1] = truth[3, :, 0] = np.nan
    truth[1, 4] = np.nan
    stamps = np.datetime64("2020-01-01") + np.arange(5 * HORIZON) * np.timedelta64(5, "h")
    found = diagnose(
        paths, truth, columns=list("abcd"), stamps=stamps.reshape(5, HORIZON), most_series=3
    )
    return paths, truth, stamps.reshape(5, HORIZON), found


@pytest.mark.identities
def test_parts_are_means_of_losses_and_make_up_the_score_of_the_record(gappy):
    paths, truth, stamps, found = gappy
    loss = metrics.crps_ensemble(paths, truth)
    totals = metrics.sum_over_dimensions(paths, truth)
    sum_loss = metrics.crps_ensemble(*totals)
    for name, losses, happened in (("crps", loss, truth), ("crps_sum", sum_loss, totals[1])):
        size = np.nanmean(np.abs(happened))
        horizon = np.nanmean(losses, axis=(0, 2)) / size
        np.testing.assert_allclose(found["by_horizon"][name], horizon, rtol=1e-4)
        window = np.nanmean(losses, axis=(1, 2)) / size
        np.testing.assert_allclose(found["by_window"][name], window, rtol=1e-4)
        hours = stamps.astype("datetime64[h]").astype(int) % 24
        assert found["by_hour"]["hour"] == sorted(set(hours.ravel().tolist()))
        for h, value in zip(found["by_hour"]["hour"], found["by_hour"][name], strict=True):
            there = losses[hours == h]
            seen = there[np.isfinite(there)]
            assert value == (pytest.approx(seen.mean() / size, rel=1e-4) if seen.size else None)
        counts = np.isfinite(happened).sum(axis=(0, 2))
        whole = np.average(found["by_horizon"][name], weights=counts)
        assert whole == pytest.approx(metrics.score(paths, truth)[name], rel=1e-4)
    score = metrics.score(paths, truth)
    for suffix, (ahead, happened) in {"": (paths, truth), "_sum": totals}.items():
        for level in BY_HORIZON:
            name = f"coverage_{level}{suffix}_rank"
            inside = metrics.covered_by_rank(ahead, happened, level=level / 100)
            by_step = found["by_horizon"][name]
            np.testing.assert_allclose(by_step, np.nanmean(inside, axis=(0, 2)), rtol=1e-4)
            whole = np.average(by_step, weights=np.isfinite(happened).sum(axis=(0, 2)))
            assert whole == pytest.approx(score[name], rel=1e-4)
    order = np.argsort(found["by_window"]["crps_sum"]).tolist()
    assert (found["best"], found["worst"]) == (order[:2], order[::-1][:2])


@pytest.mark.identities
def test_series_are_listed_from_the_worst_and_no_more_than_asked_for(gappy):
    paths, truth, _, found = gappy
    each = np.nansum(metrics.crps_ensemble(paths, truth), axis=(0, 1))
    each /= np.nansum(np.abs(truth), axis=(0, 1))
    order = np.argsort(-each)
    listed = found["by_series"]
    assert (listed["of"], listed["listed"]) == (4, 3)
    assert listed["names"] == ["abcd"[d] for d in order[:3]]
    np.testing.assert_allclose(listed["crps"], each[order[:3]], rtol=1e-4)
    np.testing.assert_allclose(listed["deciles"][-1], each.max(), rtol=1e-4)


@pytest.mark.cross_checks
def test_calibration_is_that_of_the_scores(gappy):
    paths, truth, _, found = gappy
    totals = metrics.sum_over_dimensions(paths, truth)
    for part, (ahead, happened) in {"each": (paths, truth), "sum": totals}.items():
        curve = metrics.reliability(ahead, happened, levels=LEVELS)
        np.testing.assert_allclose(found["reliability"][part], curve, rtol=1e-4)
        inside = [np.nanmean(metrics.covered(ahead, happened, level=c)) for c in COVERAGES]
        np.testing.assert_allclose(found["coverage"][part], inside, rtol=1e-4)
        # What falls into the bins below a level is below its quantile, up to the random share of a rank.
        below = np.cumsum(found["pit"][part]["share"])[:-1]
        count = np.isfinite(happened).sum()
        np.testing.assert_allclose(below, curve, atol=5 * np.sqrt(0.25 / count / 4))
    joint = [np.mean(metrics.covered_jointly(paths, truth, level=c)) for c in COVERAGES]
    np.testing.assert_allclose(found["coverage"]["joint"], joint, rtol=1e-4)
    assert found["correlation"]["error"] == pytest.approx(metrics.correlation_error(paths, truth))
    for histogram in (*found["pit"].values(), *found["ranks"].values()):
        assert sum(histogram["share"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.oracles
def test_bands_of_chance_are_binomial_where_entries_are_independent():
    paths, truth = normal_forecast(40, members=100)
    found = diagnose(paths, truth)
    low, high = np.asarray(found["pit"]["each"]["chance"])
    count = truth.size
    deviation = np.sqrt((1 - 1 / BINS) / BINS / count)
    # Each end is a quantile of 100 draws: standard error 0.27 deviations, less by the mean over the bins.
    np.testing.assert_allclose((high - low).mean() / 2, 1.96 * deviation, rtol=0.2)
    np.testing.assert_allclose((high + low) / 2, 1 / BINS, atol=5 * 0.27 * deviation)
    assert sum((share < low) | (share > high) for share in [np.full(BINS, 1 / BINS)])[0] == 0
    for part in ("each", "sum"):
        low, high = np.asarray(found["coverage"]["chance"][part])
        expected = [0.5, 0.9, 0.95, 0.98]  # 100 paths have no wider interval than from end to end
        assert (low <= expected).all() and (high >= expected).all() and (high - low < 0.25).all()


@pytest.mark.oracles
def test_a_right_forecast_stays_in_its_bands_and_a_narrow_one_does_not():
    outside = {}
    for spread in (1.0, 0.5):
        found = diagnose(*normal_forecast(40, spread=spread, members=100, seed=3))
        share = np.asarray(found["pit"]["each"]["share"])
        low, high = np.asarray(found["pit"]["each"]["chance"])
        outside[spread] = int(((share < low) | (share > high)).sum())
    assert outside[1.0] <= 5 and outside[0.5] >= 10
    assert share[0] + share[-1] > 4 / BINS  # too narrow: the truth is often outermost


@pytest.mark.oracles
def test_bands_are_wider_where_the_series_of_the_forecast_move_together():
    widths = [
        np.subtract(*found["pit"]["each"]["chance"][::-1]).mean()
        for found in (
            diagnose(*normal_forecast(20, shared=shared, dimensions=16)) for shared in (0.0, 0.95)
        )
    ]
    assert widths[1] > 2 * widths[0]


@pytest.mark.oracles
def test_ties_of_the_paths_are_no_miscalibration():
    paths, truth = normal_forecast(20)
    paths[:, :, ::2], truth[:, ::2] = 0.0, 0.0  # as solar power at night
    found = diagnose(paths, truth)
    share = np.asarray(found["pit"]["each"]["share"])
    low, high = np.asarray(found["pit"]["each"]["chance"])
    assert ((share < low) | (share > high)).sum() <= 5
    assert (np.asarray(found["coverage"]["chance"]["each"])[0] >= 0.5 * (1 + 0.35)).all()


@pytest.mark.oracles
def test_coverage_by_step_of_a_right_forecast_keeps_to_its_aim_at_night_and_by_day():
    windows = 400
    paths, truth = normal_forecast(windows, members=50)
    paths[:, :, ::2], truth[:, ::2] = 0.0, 0.0  # as solar power at night
    by_step = diagnose(paths, truth)["by_horizon"]
    for level in BY_HORIZON:
        aim = metrics.expected_coverage(level / 100, num_samples=50)
        for suffix, count in (("", windows * SERIES), ("_sum", windows)):
            shares = np.asarray(by_step[f"coverage_{level}{suffix}_rank"])
            np.testing.assert_allclose(shares[::2], aim, rtol=1e-4)
            assert np.abs(shares[1::2] - aim).max() < 5 * np.sqrt(aim * (1 - aim) / count)


@pytest.mark.invariances
def test_missing_values_and_the_number_of_blocks_do_not_matter(monkeypatch):
    paths, truth = normal_forecast(4)
    truth[1] = np.nan
    whole = diagnose(paths, truth)
    kept = diagnose(paths[[0, 2, 3]], truth[[0, 2, 3]])
    monkeypatch.setattr("timediff.benchmark.diagnosis._BLOCK", MEMBERS * SERIES * 2)
    blocks = diagnose(paths, truth)
    for part in ("by_horizon", "by_series", "correlation"):
        assert whole[part] == kept[part] == blocks[part]
    for part in ("each", "sum"):
        assert (
            whole["reliability"][part] == kept["reliability"][part] == blocks["reliability"][part]
        )
        assert whole["coverage"][part] == kept["coverage"][part]
    assert whole["by_window"]["crps"][1] is None


@pytest.mark.contracts
def test_a_diagnosis_of_many_series_stays_small_and_is_the_same_again():
    paths, truth = normal_forecast(2, members=3, dimensions=2000)
    found = diagnose(paths, truth)
    assert len(json.dumps(found, allow_nan=False)) < 40_000
    assert found == diagnose(paths, truth)
    assert found["by_series"]["listed"] == 100 and len(found["correlation"]["names"]) == 24


@pytest.mark.contracts
def test_wrong_input_to_a_diagnosis_is_refused():
    paths, truth = normal_forecast(2)
    with pytest.raises(InputError, match="shapes"):
        diagnose(paths[:1], truth)
    with pytest.raises(InputError, match="names"):
        diagnose(paths, truth, columns=["a"])
    with pytest.raises(InputError, match="stamps"):
        diagnose(paths, truth, stamps=np.zeros(3, dtype="datetime64[h]"))
    with pytest.raises(InputError, match="missing"):
        diagnose(paths, np.full_like(truth, np.nan))


class Page(HTMLParser):
    """Tags that are open, ids, links, and texts of a page."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []
        self.tags, self.attributes = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [(tag, value) for name, value in attrs if name in ("href", "src", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a record of format 2, whose diagnosis has fewer parts than those of now."""
    paths, truth = normal_forecast(3)
    truth[0, 0, 0] = np.nan
    naive = paths + 1
    data, out = dataset(truth), tmp_path_factory.mktemp("report")
    record = a_record(data, truth, paths, naive)
    paths = {"timediff": paths, "naive": naive}
    write_report(out, read_back(record), data, truth, paths)
    text = (out / "report.html").read_text(encoding="utf-8")
    return out, record, text, Page(text)


@pytest.mark.contracts
def test_page_is_well_formed_and_needs_nothing_from_elsewhere(report):
    _, _, text, page = report
    assert page.open == [] and len(set(page.ids)) == len(page.ids)
    assert len(text) < 3_000_000
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    for tag, target in page.links:
        inside = target.startswith(("#", "data:"))
        assert inside or tag == "a", target
        assert not target.startswith("#") or target[1:] in page.ids
    assert set(re.findall(r"url\((.)", text)) <= {"#"} and "@import" not in text
    assert all(found[1:-1].split("#")[1] in page.ids for found in re.findall(r"\(#[^)]+\)", text))


@pytest.mark.contracts
def test_page_is_readable_without_eyes_or_light(report):
    _, _, text, page = report
    assert page.tags.count("h1") == 1 and 'lang="en"' in text and 'name="viewport"' in text
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == page.tags.count("svg") == page.tags.count("figcaption") > 12
    assert all(len(label) > 20 for label in labels)
    assert "prefers-color-scheme: dark" in text
    # Figures have the colours of the page, so that they follow light and dark.
    figures = text[text.index("<svg") :]
    assert not re.search(r"(fill|stroke): ?#", figures)
    assert set(re.findall(r"var\(--([\w-]+)\)", figures)) <= set(re.findall(r"--([\w-]+):", text))


@pytest.mark.contracts
def test_page_holds_every_score_and_where_it_comes_from(report):
    _, record, text, page = report
    shown = " ".join(page.text)
    for name, title in ((n, s.title) for n, s in METRICS.items()):
        values = [one["metrics"][name] for one in (record, *record["baselines"].values())]
        whole = name.endswith("_joint")  # three windows say nothing of windows as a whole
        assert (title in shown) == (not whole and np.isfinite(values).any())
        for value in values:
            if np.isfinite(value) and not whole:
                assert f"{value:.4f}"[:5] in shown
    for said in (
        "98.7%", "made <up>", "naive <one>", "TimeGrad", "arXiv:2101.12072", "9.8.7", "0123abc", "slow",
        "gru", "Too few windows", "0.876", "0.75", "0.1234", "0.4321", "Recalibration", "mapped",
        f"{record['metrics']['crps']:.4f} ± 0.0123", "0.0990 ± 0.0040",
        "Monte-Carlo errors are of seed 1", "0.0032", "how it is defined",
        "± 0.0123", "Ratio to the floor", "nine levels",
    ):  # fmt: skip
        assert said in shown, said
    assert "made <up>" not in text and "naive <one>" not in text


@pytest.mark.contracts
@pytest.mark.parametrize("length", [4, 30, 60])
def test_legends_stay_inside_their_pictures(length):
    paths, truth = normal_forecast(2)
    found = diagnose(paths, truth)
    entrants = {str(i) + ("random walk " * 5)[:length]: found for i in range(3)}
    figure = figures.reliability_figure(entrants, part="each", title="x", theme=LIGHT)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


@pytest.mark.contracts
@pytest.mark.parametrize("there", [["oracle", "seasonal_naive", "walk"], ["walk"], ["oracle"]])
def test_all_pictures_show_the_same_one_beside_the_forecast(tmp_path, monkeypatch, there):
    """The best of those that know no more than ours."""
    drawn, kept, draws = [], write.forecast_figure, fans._draw_fan

    def forecast_figure(*args, **options):
        drawn.append((options["baseline_name"], options["baseline"]))
        return kept(*args, **options)

    def draw_fan(*args):
        drawn.append((args[6], args[5]))
        return draws(*args)

    monkeypatch.setattr(write, "forecast_figure", forecast_figure)
    monkeypatch.setattr(fans, "_draw_fan", draw_fan)
    monkeypatch.setattr(write, "save_figure", lambda figure, path: None)
    monkeypatch.setattr(write, "as_text", lambda record, out: "")
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    paths, truth = normal_forecast(1, dimensions=1)
    data, naive = dataset(truth), paths + 1
    record = a_record(data, truth, paths, naive)
    one = record["baselines"]["naive"]
    record["baselines"] = {
        name: {
            **one,
            "title": f"the {name}",
            "metrics": one["metrics"] | {"mean_wquantile_loss_sum": 1 - 0.1 * place},
        }
        for place, name in enumerate(there)
    }
    record["comparisons"] = record["protocols"] = {}
    others = {name: naive + place for place, name in enumerate(there)}
    write_results(tmp_path, read_back(record), data, truth, {"timediff": paths, **others})
    expected = {"walk": "the walk", "oracle": ""}[there[-1]]
    assert len(drawn) > 1 and {name for name, _ in drawn} == {expected}
    for _, shown in drawn:
        if expected:
            np.testing.assert_array_equal(np.squeeze(shown), np.squeeze(others[there[-1]][0]))
        else:
            assert shown is None


@pytest.mark.contracts
@pytest.mark.parametrize("windows, dimensions", [(1, 1), (1, 3), (2, 1)])
def test_small_forecasts_have_a_report_as_well(tmp_path, windows, dimensions, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    paths, truth = normal_forecast(windows, dimensions=dimensions, members=windows)
    data = dataset(truth)
    record = a_record(data, truth, paths, paths)
    for part in ("comparisons", "protocols", "recalibration", "metrics_mc_error", "versions"):
        del record[part]
    record["baselines"] = {}
    write_report(tmp_path, read_back(record), data, truth, {"timediff": paths})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == [] and "figure" in page.tags


@pytest.mark.contracts
def test_aims_of_coverages_are_those_of_a_perfect_forecast_of_as_many_paths(report):
    _, _, text, page = report
    shown = " ".join(" ".join(page.text).split())
    inside = [f"{100 * metrics.expected_coverage(c, num_samples=MEMBERS):.1f} %" for c in COVERAGES]
    assert inside == ["50.0 %", "90.0 %", "95.0 %", "95.1 %"]  # 39 of 41 at the most
    assert f"perfect forecast of {MEMBERS} paths {' '.join(inside)}" in shown
    assert "0.5000 at 50 %, 0.9000 at 90 %, 0.9500 at 95 %, 0.9512 at 99 %" in shown
    assert f"the aim, 50.0 and 90.0 % of a perfect forecast of {MEMBERS} paths" in shown
    assert 'id="figure-coverage-each"' in text and 'id="figure-coverage-sum"' not in text


@pytest.mark.contracts
def test_a_record_from_before_coverage_by_step_has_a_report_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    paths, truth = normal_forecast(2)
    data = dataset(truth)
    record = a_record(data, truth, paths, paths + 1)
    scores = [record["metrics"], *(each["metrics"] for each in record["baselines"].values())]
    by_step = [record["diagnosis"][name]["by_horizon"] for name in ("timediff", "naive")]
    for values in (*scores, *by_step, record["recalibration"]["diagnosis"]["by_horizon"]):
        for name in [name for name in values if name.endswith("_rank")]:
            del values[name]
    record["hardware"]["device"] = "cpu"
    old = read_back(record)
    write_report(tmp_path, old, data, truth, {"timediff": paths})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "figure-horizon-crps" in text and "figure-coverage" not in text
    assert f"perfect forecast of {MEMBERS} paths" in text and "by rank" not in text
    shown = as_text(old, tmp_path)
    assert f"a perfect forecast of {MEMBERS} paths covers 0.5000 at 50 %" in shown
    assert re.search(r"90 % coverage, by rank +–", shown)


@pytest.mark.contracts
@pytest.mark.parametrize(
    "problem, read_only",
    [
        (OSError(28, "No space left on device"), False),
        (OSError(30, "Read-only file system"), True),
        (KeyboardInterrupt(), False),
    ],
)
def test_a_failed_report_keeps_the_old_one(tmp_path, monkeypatch, problem, read_only):
    (tmp_path / "report.html").write_text("old")

    def fail(*_, **__):
        raise problem

    monkeypatch.setattr("timediff.tools.files.os.replace", fail)
    if read_only:
        monkeypatch.setattr("timediff.tools.files.Path.unlink", fail)
    with pytest.raises(
        InputError if read_only else type(problem), match=r"No space left|Read-only|^$"
    ):
        write_text(tmp_path / "report.html", "new")
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left["report.html"] == "old" and (read_only or len(left) == 1)


@pytest.mark.contracts
def test_the_caption_of_a_reliability_curve_names_the_level_that_is_farthest_off():
    from timediff.report.captions import reliability

    band = [[0.0, 0.3, 0.8], [0.2, 0.7, 1.0]]
    found = {"levels": [0.1, 0.5, 0.9], "sum": [0.1, 0.08, 0.95], "chance": {"sum": band}}
    said = reliability(found, "sum", "ours")
    assert "1 of 3 lie outside" in said and "level 0.50, below whose quantile are 0.08" in said


@pytest.mark.contracts
@pytest.mark.parametrize("better", ["timediff", "naive"])
def test_tables_are_in_the_order_of_the_scores_whoever_is_evaluated(tmp_path, better):
    paths, truth = normal_forecast(3)
    ours, naive = (paths, paths + 1) if better == "timediff" else (paths + 1, paths)
    record = a_record(dataset(truth), truth, ours, naive)
    record["hardware"]["device"] = "cpu"
    record = read_back(record)
    titles = [result.title for result in record.ranked]
    assert set(titles) == {result.title for result in record.entrants.values()}
    assert (titles[0] == record.evaluated.title) == (better == "timediff")
    rows = [
        line.split("  ")[0]
        for line in as_text(record, tmp_path).split("\n\n")[1].splitlines()[1:]
        if line.split("  ")[0] in titles
    ]
    assert rows == titles
    heads = re.findall(r'<th scope="col">([^<]+)', scores(record))
    assert [html.unescape(head) for head in heads[: len(titles)]] == titles
