"""Charts as inline SVG: lines over steps, and grouped bars. Colours are CSS variables of the page.

The view box is as wide as a chart on a phone is in pixels, so text stays readable there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH = 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 34, 34
_HEIGHT = 250
_ROW = 34
MAX_MARKS = 120
"""Points with a hover title in one line; of a longer one every n-th has it."""


@dataclass(frozen=True, slots=True)
class Series:
    """`color` is a CSS variable of the page, without its dashes. Points are (x, y), in the order of x."""

    label: str
    color: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, series: Sequence[Series], *, x_label: str, percent: bool = False) -> Markup:
    """Lines over a shared x axis; the y axis holds 0 and 1 unless the values go beyond."""
    drawn = [s for s in series if s.points]
    xs = [x for s in drawn for x, _ in s.points] or [0.0]
    ys = [y for s in drawn for _, y in s.points]
    y_ticks = ticks(min([0.0, *ys]), max([1.0, *ys]) if not percent else max([0.1, *ys]))
    x_ticks = [t for t in ticks(min(xs), max(xs)) if min(xs) <= t <= max(xs)]
    low, high = min(xs), max(xs)
    x_of = _scale(low, high, _LEFT + 6, WIDTH - _RIGHT - 6)
    y_of = _scale(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = [_legend(drawn), *_grid(y_ticks, y_of, percent)]
    for x in x_ticks:
        parts.append(_text(x_of(x), _HEIGHT - _BOTTOM + 17, f"{x:g}", "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, _HEIGHT - 3, x_label, "middle"))
    for s in drawn:
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in s.points)
        parts.append(f'<polyline class="line" points="{path}" stroke="var(--{s.color})"/>')
        every = math.ceil(len(s.points) / MAX_MARKS)
        for x, y in s.points[::every]:
            said = f"{s.label}, {x_label} {x:g}: {number(y, percent)}"
            parts.append(_dot(x_of(x), y_of(y), s.color, said, small=len(s.points) > 25))
    return _svg(title, _HEIGHT, parts)


def columns(title: str, groups: Mapping[str, Sequence[float]], series: Sequence[Series], x: str) -> Markup:
    """Upright grouped bars of shares: for each group its value in each series, in [0, 1]."""
    top = max([0.1, *(v for values in groups.values() for v in values)])
    y_ticks = ticks(0.0, min(1.0, top))
    y_of = _scale(0.0, y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    slot = (WIDTH - _LEFT - _RIGHT) / max(len(groups), 1)
    bar = min(26.0, slot * 0.36)
    parts = [_legend(series), *_grid(y_ticks, y_of, True)]
    for i, (name, values) in enumerate(groups.items()):
        middle = _LEFT + slot * (i + 0.5)
        start = middle - (bar + 1) * len(values) / 2
        for j, (s, value) in enumerate(zip(series, values, strict=True)):
            said = f"{s.label}, {x} {name}: {number(value, True)}"
            height = _HEIGHT - _BOTTOM - y_of(value)
            parts.append(_bar(start + j * (bar + 1), y_of(value), bar, height, s.color, said))
        if len(groups) <= 16 or i % math.ceil(len(groups) / 16) == 0:
            parts.append(_text(middle, _HEIGHT - _BOTTOM + 17, name, "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, _HEIGHT - 3, x, "middle"))
    return _svg(title, _HEIGHT, parts)


def rows(title: str, groups: Mapping[str, Sequence[float]], series: Sequence[Series]) -> Markup:
    """Lying grouped bars of shares, for groups with long names; every bar carries its value."""
    left = min(170.0, 14 + 6.6 * max([4, *map(len, groups)]))
    x_of = _scale(0.0, 1.0, left, WIDTH - 48)
    parts = [_legend(series)]
    for i, (name, values) in enumerate(groups.items()):
        y = _TOP + i * _ROW
        shown = name if len(name) <= 24 else name[:23] + "…"
        parts.append(_text(left - 8, y + 15, shown, "end", name))
        for j, (s, value) in enumerate(zip(series, values, strict=True)):
            said = f"{name}, {s.label}: {number(value, True)}"
            parts.append(_bar(left, y + j * 13, x_of(value) - left, 12, s.color, said))
            parts.append(_text(x_of(value) + 5, y + 10 + j * 13, number(value, True), "start"))
    return _svg(title, _TOP + _ROW * len(groups), parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from at or below `low` to at or above `high`."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if span / (m * power) <= count + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def number(value: float, percent: bool) -> str:
    return f"{value * 100:.0f}%" if percent else f"{value:.3g}"


class _scale:
    """A linear map from data to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / ((high - low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._factor


def _grid(y_ticks: Sequence[float], y_of: _scale, percent: bool) -> list[str]:
    parts = []
    for tick in y_ticks:
        y, kind = y_of(tick), "axis" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, number(tick, percent), "end"))
    return parts


def _legend(series: Sequence[Series]) -> str:
    x, parts = 2.0, []
    for s in series:
        parts.append(f'<rect x="{x:.0f}" y="5" width="11" height="11" rx="2" fill="var(--{s.color})"/>')
        parts.append(_text(x + 16, 15, s.label, "start"))
        x += 34 + 6.6 * len(s.label)
    return "".join(parts)


def _bar(x: float, y: float, width: float, height: float, color: str, said: str) -> str:
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0):.1f}" rx="1.5"'
    return f'<rect class="bar" {shape} fill="var(--{color})"><title>{escape(said)}</title></rect>'


def _dot(x: float, y: float, color: str, said: str, small: bool) -> str:
    title = f"<title>{escape(said)}</title>"
    halo = f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="7">{title}</circle>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.2 if small else 2.6}" fill="var(--{color})"/>{halo}'


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    inner = escape(text) + (f"<title>{escape(title)}</title>" if title else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{inner}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> Markup:
    # Everything that is not a number of ours went through `escape` above.
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704
