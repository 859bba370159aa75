"""What a report opens with, what it leaves out, how long it takes, and how it looks in a browser."""

import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import look_at
from made_records import a_record, dataset, normal_forecast, read_back

from timediff import metrics
from timediff.benchmark.exceedance import exceedance
from timediff.data.readers.contents import Aggregate
from timediff.report import write_report
from timediff.report.opening import MAIN, facts, sentences
from timediff.report.sections import coverage, scores

WINDOWS = 3


@pytest.fixture(scope="module")
def made():
    """Data of a known unit and zone with a named total, a record of now, and paths by entrant."""
    paths, truth = normal_forecast(WINDOWS)
    net = {"net_load": Aggregate(np.array([1.0, 1.0, -1.0, 0.0]), "kW")}
    data = dataset(truth)._replace(unit="MW", zone="Europe/Berlin", aggregates=net)
    content, paths = (
        a_record(data, truth, paths, paths + 1),
        {"timediff": paths, "naive": paths + 1},
    )
    for name, found in content["diagnosis"].items():
        found["exceedance"] = exceedance(paths[name][-1], truth[-1], net)
    return data, read_back(content), truth, paths


@pytest.fixture(scope="module")
def report(made, tmp_path_factory):
    data, record, truth, paths = made
    out = tmp_path_factory.mktemp("report")
    began = time.process_time()
    write_report(out, record, data, truth, paths)
    return out, time.process_time() - began


class Folded(HTMLParser):
    """Texts and ids of a page that are seen at once, and those that are folded."""

    def __init__(self, text):
        super().__init__()
        self.deep, self.within, self.seen, self.folded, self.figures = 0, [], "", "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.within.append(tag)
        self.deep += tag == "details"
        if tag == "figure":
            self.figures.append((dict(attrs)["id"], self.deep > 0))

    def handle_endtag(self, tag):
        self.deep -= tag == "details"

    def handle_data(self, data):
        if self.within and self.within[-1] == "style":
            return
        if self.deep:
            self.folded += data
        else:
            self.seen += data


@pytest.mark.contracts
def test_the_page_opens_with_a_verdict_totals_and_five_scores_and_folds_the_rest(made, report):
    data, record, _, _ = made
    page = Folded((report[0] / "report.html").read_text())
    seen = " ".join(page.seen.split())
    places = [
        seen.index(text) for text in (*sentences(record), facts(record, data)[:40], "Main scores")
    ]
    assert places == sorted(places)
    open_figures = [name for name, folded in page.figures if not folded]
    assert open_figures == [
        f"figure-{kind}-total-{total}" for kind in ("forecast", "exceedance") for total in (1, 2)
    ]
    assert len(page.figures) > 12
    assert len(MAIN) == 5 and seen.count("mean size") == 2  # explained where they stand
    assert "Dawid" in page.folded and "Dawid" not in seen
    assert "standard time of Europe/Berlin" in seen and "net load in kW" in seen and "MW" in seen
    for words in ("history", "what happened", "now", "naive"):  # letters of the pictures
        assert words in seen


@pytest.mark.contracts
def test_what_few_windows_cannot_support_is_left_out(made):
    _, record, _, _ = made
    many = record._replace(dataset=record.dataset._replace(windows=40, stride=6))
    assert "whole path" not in scores(record) and "whole path" in scores(many)
    diagnoses = {"ours": record.evaluated.diagnosis}
    assert ", path" in coverage(diagnoses, whole=True)
    assert ", path" not in coverage(diagnoses, whole=False)


@pytest.mark.contracts
def test_a_report_takes_seconds(report):
    assert report[1] < 10


@pytest.mark.cross_checks
def test_pictures_to_look_about_in_show_the_numbers_of_the_paths(made, report):
    pytest.importorskip("plotly", reason="the extra interactive draws these pages")
    data, _, truth, paths = made
    text = (report[0] / "series.html").read_text()
    assert 'href="series.html"' in (report[0] / "report.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    look = json.loads(re.search(r'id="look">(.*?)</script>', text, re.DOTALL)[1])
    assert look["names"] == ["sum of the 4 series", "net load", *data.columns]
    assert look["units"] == ["MW", "kW", *["MW"] * 4] and look["rival"] == "naive <one>"
    last = look["windows"][0]
    assert len(look["windows"]) == WINDOWS and last["label"].startswith("3 of 3")
    ours = paths["timediff"][-1]
    sums, total = ours.sum(axis=-1)[..., None], truth[-1].sum(axis=-1)
    np.testing.assert_allclose(last["observed"][0][-6:], total, rtol=1e-4)
    for shown, values in ((last["quantiles"][0], sums), (last["quantiles"][3], ours[..., 1:2])):
        for level, ends in ((0.9, (0, 4)), (0.5, (1, 3))):
            for end, expected in zip(
                ends, metrics.central_interval(values, level=level), strict=True
            ):
                np.testing.assert_allclose(shown[end], expected[:, 0], rtol=1e-4)
        np.testing.assert_allclose(shown[2], metrics.median(values)[:, 0], rtol=1e-4)
    beyond = [np.mean(sums.max(axis=(1, 2)) > limit) for limit in last["peaks"][0]["limits"]]
    np.testing.assert_allclose(last["peaks"][0]["chance"], beyond, atol=1 / 40 + 1e-9)


@pytest.mark.contracts
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_a_phone_and_a_desk_by_day_and_by_night(report, tmp_path, dark):
    out, _ = report
    pages = [page for page in ("report.html", "series.html") if (out / page).is_file()]
    for (page, width), look in look_at(out, pages, tmp_path, dark=dark).items():
        assert look["before"] <= width and look["scroll"] <= width, (page, look)
        shades = [sum(map(int, re.findall(r"\d+", look[name])[:3])) for name in ("paper", "ink")]
        assert (shades[0] < 100 < 600 < shades[1]) == dark and (shades[0] > 600) == (not dark)
        if page == "report.html":
            assert look["letters"] > 7.5, look
            assert look["text"].index("is better in") < 200
        else:
            assert look["plots"] > 1, look
            assert look["buttons"] == 0, look  # one of them would send the data to a server


@pytest.mark.oracles
def test_the_browser_sees_what_is_too_wide(tmp_path):
    style = '<meta name="viewport" content="width=device-width"><style>body { margin: 0 }</style>'
    (tmp_path / "wide.html").write_text(f'{style}<div style="width: 700px">x</div>')
    looks = look_at(tmp_path, ["wide.html"], tmp_path)
    assert {width: look["scroll"] for (_, width), look in looks.items()} == {390: 700, 1280: 1280}
