"""What real decoders write as averages are fed back: quality, CCI, retention, and the texts."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.transforms import Transform, blended_transform_factory

from figures import style
from figures.marks import Look, Table, bars, column, ends

Series = tuple[str, str, Look]  # column, words, look
HOLLOW: Look = {"fillstyle": "none", "ls": "--"}
QUALITY: dict[str, tuple[Series, ...]] = {  # label of the axis: what is drawn where it is there
    "phoneme errors\na listed phoneme": (
        ("phoneme_errors", "with stress", {"color": style.BLACK, "marker": "o"}),
        ("errors_without_stress", "without", {"color": style.BLUE, "marker": "s"} | HOLLOW),
    ),
    "nats a token": (
        ("nats", "what is written", {"color": style.BLACK, "marker": "o"}),
        ("true_nats", "the true text", {"color": style.BLUE, "marker": "s"} | HOLLOW),
    ),
    "share of runs\nrepeated": (("repetition", "", {"color": style.BLACK, "marker": "o"}),),
    "CCI of a step": (
        ("cci_isotropic", "isotropic", {"color": style.BLACK, "marker": "D"}),
        ("cci_normal", "along the facet's normal", {"color": style.VERMILION, "marker": "s"}),
    ),
    "retention": (("retention", "", {"color": style.GREEN, "marker": "^"}),),
}
DEEP = -3.0  # where CCI goes below it, its axis is linear on [−1, 1] alone
WIDTH, LINES = 60, 2  # letters a line, lines a sample
SIZE = 6.0  # of their letters, in points
STEP = 1.25 * SIZE / 72  # inches a line
PANEL = 1.2  # inches


def draw(table: Table) -> dict[str, Figure]:
    """One figure a decoder, named after it."""
    names = dict.fromkeys(row["decoder"] for row in table)
    return {name: _decoder(_of(table, name)) for name in names}


def _of(table: Table, name: str) -> Table:
    return sorted((r for r in table if r["decoder"] == name), key=lambda row: row["softness"])


def _decoder(rows: Table) -> Figure:
    """A panel for every kind of number that is there, and the texts below."""
    shown = {label: _there(rows, series) for label, series in QUALITY.items()}
    shown = {label: series for label, series in shown.items() if series}
    lines = _texts(rows)
    heights = [PANEL] * len(shown) + [STEP * (len(lines) + 1)]
    height = sum(heights) + 0.7
    with style.column(len(heights), height, tuple(heights)) as (figure, (*panels, page)):
        for axes, (label, series) in zip(panels, shown.items(), strict=True):
            axes.set_ylabel(label)
            _panel(axes, rows, series)
        one = rows[0]
        figure.suptitle(f"{one['decoder']}: {one['independent']} texts", fontsize=8)
        panels[-1].tick_params(labelbottom=True)
        panels[-1].set_xlabel("softness λ (0: tokens are fed back, 1: averages)")
        _write(page, blended_transform_factory(figure.transFigure, page.transAxes), lines)
        figure.align_ylabels(panels)
    return figure


def _there(rows: Table, series: tuple[Series, ...]) -> list[Series]:
    return [one for one in series if np.isfinite(column(rows, f"{one[0]}_value")).any()]


def _panel(axes: Axes, rows: Table, series: list[Series]) -> None:
    for name, said, look in series:
        value, lower, upper = ends(rows, name)
        if f"{name}_lower" in rows[0]:  # of a share: exact
            lower, upper = column(rows, f"{name}_lower"), column(rows, f"{name}_upper")
        if name.startswith("cci"):
            upper = np.minimum(upper, 1)  # by definition
        known = np.isfinite(value)
        x = column(rows, "softness")[known]
        bars(axes, x, value[known], lower[known], upper[known], label=said, lw=0.8, **look)
    if len(series) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=2, borderaxespad=0)
    _limits(axes, rows, {name for name, _, _ in series})


def _limits(axes: Axes, rows: Table, names: set[str]) -> None:
    """Shares and numbers of errors from 0 on; CCI with its two marks, 0 and 1."""
    if any(name.startswith("cci") for name in names):
        least = min(float(np.nanmin(column(rows, f"{name}_value"))) for name in names)
        if least < DEEP:
            axes.set_yscale("symlog", linthresh=1, linscale=0.6)
        for mark in (0, 1):
            axes.axhline(mark, color=style.BLACK, lw=0.4, ls=":")
    else:
        high = axes.get_ylim()[1]
        axes.set_ylim(0, 1.05 if "retention" in names else high)


def _texts(rows: Table) -> list[tuple[str, bool]]:
    """Lines, and whether they are headings: the samples of the least and the largest softness."""
    lines = []
    for row in {row["softness"]: row for row in (rows[0], rows[-1])}.values():
        names = sorted(name for name in row if name.startswith("sample_"))
        said = [str(row[name]) for name in names if row[name] is not None]
        if said:
            lines.append((f"λ = {row['softness']:g}", True))
        for text in said:
            wrapped = textwrap.wrap(_printable(text), WIDTH, max_lines=LINES, placeholder=" …")
            lines += [(f"{'–' if not k else ' '} {line}", False) for k, line in enumerate(wrapped)]
    return lines


def _printable(text: str) -> str:
    """Letters that the font has; a box for any other."""
    font = get_font(findfont(FontProperties()))
    return "".join(one if font.get_char_index(ord(one)) else "□" for one in text)


def _write(page: Axes, place: Transform, lines: list[tuple[str, bool]]) -> None:
    page.set_axis_off()
    for k, (line, heading) in enumerate(lines):
        look: Look = {"weight": "bold"} if heading else {}
        look |= {"fontsize": SIZE, "va": "top", "parse_math": False, "in_layout": False}
        page.text(0.02, 1 - (k + 0.3) / (len(lines) + 1), line, transform=place, **look)
