"""Lines over two logarithmic axes, as an SVG file that stands by itself."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 30, 44
COLORS = ("#1b6ac9", "#5b6472", "#c2410c", "#7c3aed", "#0f766e", "#b91c1c")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#475569}"
    ".grid{stroke:#cbd5e1;stroke-width:.6}.line{fill:none;stroke-width:2}.title{font-weight:600}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """Points are (x, y), both above 0, in the order of x."""

    label: str
    points: Sequence[tuple[float, float]]


def log_chart(title: str, lines: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """The chart as SVG text; an empty line has no part in it."""
    drawn = [line for line in lines if line.points]
    xs = [x for line in drawn for x, _ in line.points] or [1.0]
    ys = [y for line in drawn for _, y in line.points] or [1.0]
    x_ticks, y_ticks = sorted(set(xs)), _decades(min(ys), max(ys))
    x_of = _log_scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_of = _log_scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [f'<text class="title" x="{LEFT}" y="16">{escape(title)}</text>']
    for tick in y_ticks:
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:g}", "end"))
    parts += [_text(x_of(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", "middle") for tick in x_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"))
    turn = f"rotate(-90 14 {HEIGHT / 2})"
    parts.append(
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="{turn}">{escape(y_label)}</text>'
    )
    parts += _lines(drawn, x_of, y_of)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    sheet = f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}{sheet}{''.join(parts)}</svg>\n"


def _lines(drawn: Sequence[Line], x_of: "_log_scale", y_of: "_log_scale") -> Iterable[str]:
    ends = _apart([y_of(line.points[-1][1]) for line in drawn])
    for n, line in enumerate(drawn):
        color = COLORS[n % len(COLORS)]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line.points)
        yield f'<polyline class="line" points="{path}" stroke="{color}"/>'
        for x, y in line.points:
            said = escape(f"{line.label}: {x:g} → {y:.4g}")
            dot = f'cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{color}"'
            yield f"<circle {dot}><title>{said}</title></circle>"
        place = f'x="{WIDTH - RIGHT + 10}" y="{ends[n] + 4:.1f}" style="fill:{color}"'
        yield f"<text {place}>{escape(line.label)}</text>"


def _apart(heights: Sequence[float], least: float = 15.0) -> list[float]:
    """Heights for labels that do not run into each other."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=lambda n: placed[n])
    for above, below in itertools.pairwise(order):
        placed[below] = max(placed[below], placed[above] + least)
    return placed


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


class _log_scale:
    """A map from the logarithm of data to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = math.log(low), start
        self._factor = (end - start) / ((math.log(high) - self._low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (math.log(value) - self._low) * self._factor


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The k of y ~ x^k, by least squares over the logarithms."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x_mean = sum(x for x, _ in logs) / len(logs)
    y_mean = sum(y for _, y in logs) / len(logs)
    spread = sum((x - x_mean) ** 2 for x, _ in logs)
    return sum((x - x_mean) * (y - y_mean) for x, y in logs) / spread
