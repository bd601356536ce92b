"""A chart of estimates with their intervals: a dot and a bar for each, on one scale from 0 to 1."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

from markupsafe import Markup

from mtrl.report.charts import WIDTH, Series

_TOP, _PITCH, _GAP = 44, 15, 12
Value = tuple[float, float, float]
"""The estimate, and its interval's lower and upper end."""


def interval_rows(title: str, groups: Mapping[str, Sequence[Value]], series: Sequence[Series]) -> Markup:
    """For each group its estimate in each series; the value stands behind the interval, in percent."""
    left = min(170.0, 14 + 6.6 * max([4, *map(len, groups)]))
    right = WIDTH - 58.0

    def x_of(value: float) -> float:
        return left + value * (right - left)

    row = _PITCH * len(series) + _GAP
    height = _TOP + row * len(groups)
    parts = [_legend(series)]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        kind, x = "axis" if tick == 0 else "grid", x_of(tick)
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height}"/>')
        parts.append(_text(x, _TOP - 12, f"{tick:.0%}", "middle"))
    for i, (name, values) in enumerate(groups.items()):
        y = _TOP + i * row
        shown = name if len(name) <= 24 else name[:23] + "…"
        parts.append(_text(left - 8, y + _PITCH * len(series) / 2 + 4, shown, "end", name))
        for j, (s, value) in enumerate(zip(series, values, strict=True)):
            parts.append(_estimate(name, s, value, y + _PITCH * (j + 0.5), x_of))
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    # Everything that is not a number of ours went through `escape`.
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704


def _estimate(name: str, series: Series, value: Value, y: float, x_of: Callable[[float], float]) -> str:
    mean, low, high = value
    at = [x_of(v) for v in (mean, low, high)]
    said = f"{name}, {series.label}: {mean * 100:.1f}% [{low * 100:.1f}, {high * 100:.1f}]"
    color = f"var(--{series.color})"
    bar = f'x="{at[1]:.1f}" y="{y - 2.5:.1f}" width="{max(at[2] - at[1], 1):.1f}" height="5" rx="2.5"'
    return (
        f'<rect class="bar" {bar} fill="{color}" fill-opacity=".4"><title>{escape(said)}</title></rect>'
        f'<circle cx="{at[0]:.1f}" cy="{y:.1f}" r="4" fill="{color}"><title>{escape(said)}</title></circle>'
        + _text(WIDTH - 2.0, y + 4, f"{mean * 100:.1f}%", "end")
    )


def _legend(series: Sequence[Series]) -> str:
    x, parts = 2.0, []
    for s in series if len(series) > 1 else ():
        parts.append(f'<rect x="{x:.0f}" y="3" width="11" height="11" rx="2" fill="var(--{s.color})"/>')
        parts.append(_text(x + 16, 13, s.label, "start"))
        x += 34 + 6.6 * len(s.label)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    inner = escape(text) + (f"<title>{escape(title)}</title>" if title else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{inner}</text>'
