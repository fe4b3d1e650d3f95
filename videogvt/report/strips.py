"""Frames of clips in one picture, with words beside them that stay beside them, however long a file's name is."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from videogvt.report.figures import DPI, INK, SOFT
from videogvt.report.images import spread, strip

WORDS, LINE = FontProperties(size=10.5), 1.45  # beside a group, and from a line to the next
EDGE, COLUMN, LEFT, HEAD, BETWEEN = 20, 205, 330, 75, 30  # pixels: margin, words, where frames begin, title, gap
CUT = "…"


def labelled_strips(
    groups: Sequence[tuple[str, Sequence[np.ndarray]]], title: str, names: Sequence[str], count: int = 8
) -> Figure:
    """Frames of clips, a group of rows for each entry, with words at the left; pixels are not resampled.

    Args:
      groups: (words beside the group, its clips (T, H, W, 3)); all of one shape. Lines of words that are too long are
        broken, and the middle of what has too many is left out.
      title: above everything.
      names: of the rows of a group, such as "original" and "reconstruction".
      count: frames of each clip.
    """
    num_frames, _, size = groups[0][1][0].shape[:3]
    frames = spread(num_frames, count)
    pictures = [strip(clips, frames, max(1, 128 // size)) for _, clips in groups]
    tall, wide = pictures[0].shape[:2]
    pitch = tall + BETWEEN
    width, height = LEFT + wide + 15, HEAD + pitch * len(pictures)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    measure = _width_of(figure)
    figure.text(EDGE / width, 1 - 38 / height, title, fontsize=17, fontweight="bold", color=INK, va="center",
                parse_math=False)
    room = int((pitch - 8) / (WORDS.get_size_in_points() * LINE * DPI / 72))
    column = COLUMN if any(names) else LEFT - 2 * EDGE
    for number, (picture, (words, _)) in enumerate(zip(pictures, groups)):
        top = HEAD + pitch * number
        figure.figimage(picture, LEFT, height - top - tall)
        figure.text(EDGE / width, 1 - (top + 8) / height, fitted(words, column, room, measure), fontproperties=WORDS,
                    color=INK, va="top", linespacing=LINE, parse_math=False)
        for row, name in enumerate(names):
            middle = top + tall * (row + 0.5) / len(names)
            place = ((LEFT - 8) / width, 1 - middle / height)
            figure.text(*place, name, fontsize=9.5, color=SOFT, va="center", ha="right")
    return figure


def _width_of(figure: Figure) -> Callable[[str], float]:
    """The width in pixels of a line of words in a figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    return lambda text: renderer.get_text_width_height_descent(text, WORDS, False)[0]


def fitted(words: str, width: float, lines: int, measure: Callable[[str], float]) -> str:
    """Words broken into lines of at most a width. Of a line that must be broken so often that there would be more than
    so many lines in all, the middle is left out: names of one folder differ at the end.

    Args:
      words: one or more lines.
      width: of a line.
      lines: most in all.
      measure: the width of a line.
    """
    broken = [_broken(line, width, measure) for line in words.splitlines()]
    longest = max(broken, key=len)
    over = sum(map(len, broken)) - lines
    if over > 0 and len(longest) > 2:
        keep = max(2, len(longest) - over)
        first, last = (keep + 1) // 2, keep // 2
        longest[first:-last] = []
        longest[first - 1] = longest[first - 1][:-1] + CUT
    return "\n".join(part for parts in broken for part in parts)


def _broken(line: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A line in parts that are no wider, anywhere broken: a file's name may have no spaces."""
    parts = [""]
    for letter in line:
        if parts[-1] and measure(parts[-1] + letter) > width:
            parts.append("")
        parts[-1] += letter
    return parts
