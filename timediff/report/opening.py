"""What a report opens with: the verdict in two sentences, what was forecast, and five scores."""

import math

from timediff.benchmark.record import Record
from timediff.benchmark.verdict import Bands, Verdict, rival, verdict
from timediff.data.dataset import Dataset
from timediff.frequency import split_freq
from timediff.report import numbers
from timediff.report.html import escape, table
from timediff.report.scores import MAIN, MEANINGS, published_value, score_rows, setting

__all__ = ["facts", "main_scores", "opening", "sentences", "shown_beside"]


def sentences(record: Record) -> tuple[str, str]:
    """The verdict: how the evaluated entrant stands, and what to do."""
    found = verdict(record)
    bands = "" if found.bands is None else f"its 90 % bands cover {_cover(found.bands)}"
    if found.rival is None:
        return (
            f"{found.title} has nobody beside it" + (f", and {bands}" if bands else "") + ".",
            "Whether to use it takes a baseline: run again with --baselines fast.",
        )
    best = f" (the best of {found.others} others)" if found.others > 1 else ""
    stands = f"against {found.rival}{best}, {found.title} "
    if math.isnan(found.ratio):
        stands += "has no error to compare"
    else:
        if found.wins is not None:
            stands += f"is better in {found.wins} of {found.windows} windows and "
        stands += f"has {numbers.ratio(found.ratio)} times the error"
    bands = f"; {bands}" if bands else ""
    return f"{stands[0].upper()}{stands[1:]}{bands}.", _advice(found)


def _cover(bands: Bands) -> str:
    if bands.chance is None:
        return f"{100 * bands.share:.0f} of {100 * bands.aim:.0f} %"
    low, high = (100 * end for end in bands.chance)
    return f"{100 * bands.share:.0f} % of what happened (right: {low:.0f} to {high:.0f} %)"


def _advice(found: Verdict) -> str:
    if found.use is None:
        return "Neither has a score that decides."
    ours = found.use == found.title
    use = "Use it" if ours else f"Use {found.use}"
    if found.told is False:
        use = f"The difference may be chance: use {'it' if ours else found.use}, which takes less time"
    elif found.told is None:
        use += (
            f", though {found.windows} windows are too few to be sure ({found.fewest} are needed)"
        )
    if ours and found.bands is not None and found.bands.fault:
        use += f"; its bands are {found.bands.fault}, which --recalibrate corrects"
    return use + "."


def opening(record: Record, data: Dataset) -> str:
    """Verdict and facts."""
    stands, advice = map(escape, sentences(record))
    return (
        f'<p class="verdict">{stands} <strong>{advice}</strong></p>\n<p>{facts(record, data)}</p>\n'
    )


def facts(record: Record, data: Dataset) -> str:
    """What was forecast, in units and on a clock where they are known, as HTML."""
    seeds, share = record.evaluated.seeds, record.observed_share
    parts = [f"{setting(record)}; frequency {data.freq}, {_clock(data)}"]
    units = {name: aggregate.unit for name, aggregate in data.aggregates.items()}
    units = ({"values": data.unit} if data.unit else {}) | units
    parts += [f"{name.replace('_', ' ')} in {unit}" for name, unit in units.items() if unit]
    if share is not None and share < 1:
        parts.append(f"{share:.1%} of the truth was observed")
    network = record.evaluated.details.get("network_share")
    if network is not None and network < 1:
        parts.append(
            f"the network draws {100 * network:.0f} % of the paths, as held-out windows chose"
        )
    text = "; ".join(parts) + "."
    if len(seeds) > 1:
        text += (
            " Scores are means over the seeds; pictures, coverages and Monte-Carlo errors are of "
        )
        text += f"seed {seeds[0]}."
    return escape(text)


def _clock(data: Dataset) -> str:
    if not data.zone:
        return "times as in the data, which name no time zone"
    below = split_freq(data.freq)[1] in ("s", "min", "h")
    return f"{'standard time' if below else 'days'} of {data.zone}"


def shown_beside(record: Record) -> list[str]:
    """Names of the entrants told of at once: the evaluated one, its rival, and the true process."""
    names = [next(iter(record.entrants)), rival(record)]
    names += [name for name, other in record.others.items() if other.kind == "oracle"][:1]
    return [name for name in names if name is not None]


def main_scores(record: Record) -> str:
    """The five main scores of those, each with what it means."""
    shown = [record.entrants[name] for name in shown_beside(record)]
    stated = {entry.metric: published_value(entry) for entry in record.dataset.published}
    names = [name for name in MAIN if name in record.evaluated.metrics]
    head = ["", *(entrant.title for entrant in shown), *(["published"] if stated else [])]
    rows, meanings = score_rows(names, shown), dict(MEANINGS)
    found = verdict(record).bands
    if found is not None:
        right = f" The aim is {100 * found.aim:.1f} %"
        if found.chance is not None:
            low, high = (100 * end for end in found.chance)
            right += f"; by chance, and where values are equal, {low:.0f} to {high:.0f} % are right"
        meanings["coverage_90"] += right + "."
    for name, row in zip(names, rows, strict=True):
        row += [stated.get(name, "")] if stated else []
    seeds = len(record.evaluated.seeds)
    spread = f"means ± standard errors over {seeds} seeds" if seeds > 1 else "one seed"
    return table(
        head, rows, caption=f"Main scores, {spread}", notes=[meanings[name] for name in names]
    )
