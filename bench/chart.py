"""A horizontal bar chart as SVG, by hand: readable on light and dark pages, no font or script from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
LABEL = 330  # where the bars begin
RIGHT = 90  # room for a figure behind the longest bar
ROW = 34
BAR = 18
TOP = 58
BOTTOM = 40
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a }
  .title { font-size: 16px; font-weight: 600; fill: #24292f }
  .note { font-size: 11px }
  .value { font-weight: 600; fill: #24292f }
  .grid { stroke: #8c959f; stroke-opacity: .25 }
  .whisker { stroke: #8c959f; stroke-width: 1.5; fill: none }
  .ours { fill: #2f81f7 }
  .other { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #9ea7b3 }
    .title, .value { fill: #e6edf3 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One row: its length and its whisker's end in the chart's unit."""

    label: str
    value: float
    high: float
    ours: bool


def step_for(limit: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, giving four to ten of them."""
    step = 0.001
    while True:
        for factor in (1, 2, 5):
            if limit / (step * factor) <= 8:
                return step * factor
        step *= 10


def draw(title: str, bars: Sequence[Bar], note: str) -> str:
    """The whole SVG file. Whiskers that would squeeze the bars are cut at the chart's right edge."""
    longest = max(bar.value for bar in bars) * 1.08
    scale = (WIDTH - LABEL - RIGHT) / longest
    height = TOP + ROW * len(bars) + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">']
    out += [f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>"]
    out.append(f'<text class="title" x="16" y="28">{escape(title)}</text>')
    out += grid(longest, scale, TOP + ROW * len(bars))
    for number, bar in enumerate(bars):
        out += draw_bar(bar, TOP + ROW * number, scale, longest)
    out.append(f'<text class="note" x="16" y="{height - 8}">{escape(note)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def grid(longest: float, scale: float, bottom: int) -> list[str]:
    """Vertical lines, each with its figure below."""
    out: list[str] = []
    step = step_for(longest)
    for number in range(int(longest / step) + 1):
        x = round(LABEL + number * step * scale, 1)
        out.append(f'<line class="grid" x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom}"/>')
        out.append(f'<text class="note" x="{x}" y="{bottom + 13}" text-anchor="middle">{number * step:g}</text>')
    return out


def draw_bar(bar: Bar, top: int, scale: float, longest: float) -> list[str]:
    """One row: label, bar, whisker, figure."""
    middle = top + BAR / 2
    end = round(LABEL + bar.value * scale, 1)
    tip = round(LABEL + min(bar.high, longest) * scale, 1)
    kind = "ours" if bar.ours else "other"
    figure = f"{bar.value:.1f}" if bar.value < 100 else f"{bar.value:.0f}"
    return [
        f'<text x="{LABEL - 10}" y="{middle + 4.5}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{round(end - LABEL, 1)}" height="{BAR}" rx="2"/>',
        f'<path class="whisker" d="M{end} {middle}H{tip}M{tip} {middle - 4}v8"/>',
        f'<text class="value" x="{tip + 8}" y="{middle + 4.5}">{figure}</text>',
    ]
