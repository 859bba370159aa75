"""Pieces of a self-contained page: tables, figures that follow light and dark, and the page around them.

No script, no style sheet and no picture comes from elsewhere, and only pages to look about
in have a script. A figure is drawn once, as SVG inside the page; its colours become those of the page, which
follow the reader's light or dark.
"""

import html
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from timediff.report.plots import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["escape", "figure_block", "fold", "page", "svg", "table"]


def escape(text: object) -> str:
    """Text that is shown as it is."""
    return html.escape(str(text), quote=True)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    notes: Sequence[str] = (),
    folded: bool = False,
) -> str:
    """A table of plain texts; the first cell of a row heads it. On a phone each row is a block of its own.

    Args:
        head: Names of the columns.
        rows: Of each row the cells.
        caption: Above the table.
        notes: What each row means, below its head.
        folded: Whether a note is shown only where its head is opened.
    """
    names = [escape(name) for name in head]
    lines = ["".join(f'<th scope="col">{name}</th>' for name in names)]
    for (first, *rest), note in zip(rows, notes or [""] * len(rows), strict=True):
        cells = "".join(
            f'<td data-label="{name}">{escape(cell)}</td>'
            for name, cell in zip(names[1:], rest, strict=True)
        )
        heading = escape(first)
        if note and folded:
            heading = f"<details><summary>{heading}</summary>{escape(note)}</details>"
        elif note:
            heading = f"{heading}<small>{escape(note)}</small>"
        lines.append(f'<th scope="row">{heading}</th>{cells}')
    inner = "".join(f"<tr>{line}</tr>\n" for line in lines[1:])
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or head[0] or "table")}">'
        f"<table>{above}<thead><tr>{lines[0]}</tr></thead>\n<tbody>\n{inner}</tbody></table></div>\n"
    )


def fold(title: str, inner: str, *, name: str = "") -> str:
    """A part of a page that is shown when its title is opened; with a name, a section of its own."""
    if not name:
        return f"<details><summary>{escape(title)}</summary>{inner}</details>\n"
    return (
        f'<details id="{escape(name)}" class="section"><summary><h2>{escape(title)}</h2></summary>\n'
        f"{inner}</details>\n"
    )


def figure_block(figure: "Figure", *, name: str, alt: str, caption: str) -> str:
    """A figure drawn with `LIGHT`, with a description for those who do not see it and a caption."""
    return (
        f'<figure id="figure-{escape(name)}">{svg(figure, name=name, alt=alt)}'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def svg(figure: "Figure", *, name: str, alt: str) -> str:
    """A figure drawn with `LIGHT` as SVG whose colours are variables of the page."""
    import matplotlib

    text = io.StringIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(options):
        figure.savefig(text, format="svg", metadata=nothing)
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :]
    for variable, colour in _variables(LIGHT).items():
        markup = re.sub(re.escape(colour), f"var(--{variable})", markup, flags=re.IGNORECASE)
    # One page holds many figures, whose parts have the same names.
    markup = re.sub(r'\bid="', f'id="{name}-', markup)
    markup = re.sub(r"url\(#", f"url(#{name}-", markup)
    markup = markup.replace('xlink:href="#', f'href="#{name}-').replace("xlink:href=", "href=")
    markup = markup.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    markup = re.sub(r' xmlns(:xlink)?="[^"]*"', "", markup)
    markup = re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)
    markup = re.sub(r' (width|height)="[^"]*pt"', "", markup, count=2)
    markup = re.sub(r"\n\s*", "\n", markup)
    return markup.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def page(title: str, body: str, *, scripts: Sequence[str] = ()) -> str:
    """A whole page, with scripts that are run at its end."""
    style = files("timediff.report").joinpath("style.css").read_text(encoding="utf-8")
    light, dark = _declarations(LIGHT), _declarations(DARK)
    end = "".join(f"<script>{script}</script>\n" for script in scripts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}</main>\n{end}</body>\n</html>\n"
    )


def _variables(theme: Theme) -> dict[str, str]:
    named = {name: getattr(theme, name) for name in ("paper", "ink", "muted", "grid")}
    return named | {f"series-{i}": colour for i, colour in enumerate(theme.series)}


def _declarations(theme: Theme) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in _variables(theme).items())
