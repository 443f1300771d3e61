"""A comparison as a picture: quality against depth, and against bytes a token."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from late_rerank.errors import MissingDependencyError
from late_rerank.evaluate.comparison import AXES, COMPARED_BY, Compared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # told apart by colour-blind people too
_MARKERS = ("o", "s", "D", "^", "v", "P")
_GREY = "#666666"
_PANEL_INCHES = (6.0, 4.6)
_DPI = 150


def check_plot(path: Path) -> None:
    """Check, before the work, that a picture can be drawn and written to a path.

    Raises:
        ValueError: If the name ends in neither .png nor .svg, or there is no such folder.
        MissingDependencyError: If matplotlib isn't installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"a plot's file must end in {' or '.join(FORMATS)}, got {str(path)!r}")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if find_spec("matplotlib") is None:
        raise MissingDependencyError("a plot", "matplotlib", "plot")


def plot_comparison(compared: Sequence[Compared], path: Path, *, title: str = "", first_stage: str = "first stage") -> None:
    """Draw setups: nDCG@10 against depth where that varies, against bytes a token where something else does.

    A bar is the 95 % range of the difference to the first setup, query by query. A setup whose bar crosses the first one's
    height can't be told from it. The size panel shows the deepest of several depths.

    Args:
        compared: As `compare` gives it.
        path: A .png or .svg; overwritten.
        title: Above both panels.
        first_stage: Name of the horizontal line.

    Raises:
        ValueError: If there is nothing to draw, or as in `check_plot`.
        MissingDependencyError: If matplotlib isn't installed.
    """
    check_plot(path)
    if not compared:
        raise ValueError("no setups to draw")
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    varied = [name for name in AXES if len({getattr(each.setup, name) for each in compared}) > 1]
    deepest = max(each.setup.k for each in compared)
    panels = [_draw_depths] if "k" in varied else []
    if set(varied) - {"k"} or not panels:
        panels.append(_draw_sizes)
    figure = Figure(figsize=(_PANEL_INCHES[0] * len(panels), _PANEL_INCHES[1]), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    before = next(each for each in compared if each.setup.k == deepest).evaluation.measures["first_stage"][COMPARED_BY]
    for draw, panel in zip(panels, axes, strict=True):
        draw(panel, compared, [name for name in varied if name != "k"])
        _finish(panel, before, first_stage)
    axes[0].set_ylabel(COMPARED_BY)
    figure.suptitle(title, fontsize=11)
    note = "bars: 95 % range of the difference to the first setup (ringed)" if len(compared) > 1 else ""
    figure.supxlabel(note, fontsize=8, color=_GREY)
    figure.savefig(path, dpi=_DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else {})


class _Point(NamedTuple):
    """A setup in a panel; `label` is drawn where the panel has a single line."""

    x: float
    y: float
    below: float
    above: float
    is_first: bool
    colour: str
    marker: str
    label: str


class _Styles:
    """Colours of all that differs but codecs, markers of codecs: the same in both panels.

    Args:
        compared: All setups.
        varied: The axes in which they differ, without depth.
    """

    def __init__(self, compared: Sequence[Compared], varied: Sequence[str]) -> None:
        self._names = [name for name in varied if name != "codec"]
        colours = dict.fromkeys(self.group(each) for each in compared)
        self.colours = dict(zip(colours, cycle(_COLOURS), strict=False))
        codecs = dict.fromkeys(each.setup.codec for each in compared)
        self.markers = dict(zip(codecs, cycle(_MARKERS), strict=False))

    def group(self, each: Compared) -> str:
        """Say in words what the setup's colour stands for."""
        return _name(each, self._names)

    def point(self, each: Compared, x: float, label: str = "") -> _Point:
        """Place a setup, with its bar."""
        y, added = each.evaluation.measures["reranked"][COMPARED_BY], each.difference
        below, above = (0.0, 0.0) if added is None else (added.mean - added.low, added.high - added.mean)
        colour, marker = self.colours[self.group(each)], self.markers[each.setup.codec]
        return _Point(x, y, below, above, added is None, colour, marker, label)

    def legend(self, panel: Axes) -> None:
        """Explain colours and, beside them, markers; draw nothing where there is one of each."""
        many, coded = len(self.colours) > 1, len(self.markers) > 1
        marker = "" if coded else next(iter(self.markers.values()))
        if many:
            for name, colour in self.colours.items():
                panel.plot([], [], color=colour, marker=marker, markersize=6, label=name)
        if coded:
            for codec, marker in self.markers.items():
                panel.plot([], [], color=_GREY, marker=marker, linestyle="none", markersize=6, label=codec)
        if many or coded:
            panel.legend(fontsize=8, frameon=False, ncols=1 + (many and coded), loc="upper left")


def _draw_depths(panel: Axes, compared: Sequence[Compared], varied: Sequence[str]) -> None:
    styles = _Styles(compared, varied)
    lines: dict[tuple[str, str], list[Compared]] = {}
    for each in compared:
        lines.setdefault((styles.group(each), each.setup.codec), []).append(each)
    for i, line in enumerate(lines.values()):
        aside = 1 + 0.02 * (i - (len(lines) - 1) / 2)  # bars of one depth stand side by side
        points = [styles.point(each, each.setup.k * aside) for each in sorted(line, key=lambda each: each.setup.k)]
        _draw_line(panel, points)
    _scale(panel, sorted({each.setup.k for each in compared}))
    panel.set_xlabel("candidates reranked")
    styles.legend(panel)


def _draw_sizes(panel: Axes, compared: Sequence[Compared], varied: Sequence[str]) -> None:
    deepest = max(each.setup.k for each in compared)
    shown = sorted((each for each in compared if each.setup.k == deepest), key=lambda each: each.bytes_per_token)
    # A line joins setups that differ in one axis alone, never in the model.
    along = next((name for name in ("codec", "pooling") if name in varied), None)
    styles = _Styles(compared, varied)
    lines: dict[str, list[Compared]] = {}
    for each in shown:
        lines.setdefault(_name(each, [name for name in varied if name != along]), []).append(each)
    # Scorings and query encoders stand one above the other, since their bytes are equal: labels would overlap.
    crowded = len(lines) > 1 and (along == "codec" or bool({"scoring", "query_encoder"} & set(varied)))
    for line in lines.values():
        points = [styles.point(each, each.bytes_per_token, _name(each, varied or ["codec"])) for each in line]
        _draw_line(panel, points)
        if not crowded:
            _label(panel, points)
    _scale(panel, sorted({each.bytes_per_token for each in shown}))
    panel.set_xlabel("bytes a token")
    if crowded:
        styles.legend(panel)


def _draw_line(panel: Axes, points: Sequence[_Point]) -> None:
    colours = {point.colour for point in points}
    line = points[0].colour if len(colours) == 1 else _GREY
    panel.plot([point.x for point in points], [point.y for point in points], color=line, linewidth=1.4, alpha=0.8)
    for point in points:
        spread = [[point.below], [point.above]]
        panel.errorbar(point.x, point.y, yerr=spread, fmt="none", ecolor=point.colour, elinewidth=1, capsize=2.5, alpha=0.45)
        panel.plot(point.x, point.y, color=point.colour, marker=point.marker, markersize=6, linestyle="none")
        if point.is_first:
            panel.plot(point.x, point.y, color="black", marker="o", markersize=12, fillstyle="none", linestyle="none")


def _label(panel: Axes, points: Sequence[_Point]) -> None:
    """Write each point's label to its right: below a line that rises there, otherwise above."""
    for i, point in enumerate(points):
        rises = i + 1 < len(points) and points[i + 1].y > point.y
        place = (8, -15) if rises else (8, 7)
        panel.annotate(
            point.label, (point.x, point.y), xytext=place, textcoords="offset points", fontsize=9, color=point.colour
        )


def _finish(panel: Axes, before: float, first_stage: str) -> None:
    panel.axhline(before, color=_GREY, linestyle="--", linewidth=1.2)
    low, high = panel.get_ylim()
    # Leave room for the line's name beneath it, and for the legend above the points.
    panel.set_ylim(min(low, before - 0.06 * (high - low)), high + 0.25 * (high - low))
    panel.annotate(
        f"{first_stage} alone, {_short(before)}",
        (0.99, before),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=9,
        color=_GREY,
        ha="right",
    )
    panel.grid(axis="y", color="#dddddd", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.yaxis.set_major_formatter(lambda value, _: _short(value))


def _scale(panel: Axes, values: Sequence[float]) -> None:
    """Make the axis logarithmic, with a tick at each value unless two labels would overlap."""
    ticks: list[float] = []
    for value in reversed(values):  # the largest first: it has no loss
        if not ticks or ticks[-1] / value > 1.3:
            ticks.append(value)
    panel.set_xscale("log")
    panel.set_xticks(ticks, [f"{value:.3g}" for value in ticks])
    panel.minorticks_off()
    panel.set_xlim(values[0] / 1.35, values[-1] * 1.5)


def _name(each: Compared, names: Sequence[str]) -> str:
    setup = each.setup
    words = {
        "model": Path(setup.model).name,
        "pooling": f"pooling {setup.pooling}" if setup.pooling > 1 else "no pooling",
        "query_encoder": f"{Path(setup.query_encoder).name} query encoder",
        "codec": setup.codec,
        "scoring": setup.scoring,
        "first_stage_weight": f"first-stage weight {setup.first_stage_weight}",
    }
    return ", ".join(words[name] for name in names)


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)
