"""The preview of any other data set (a folder of videos, a user's own tracks): its clips, class by class.

Frames of clips in one picture, with words beside them that stay beside them, however long a file's name is.

Generated clips as files: animations, codes, a contact sheet, and how the first of them came about.
"""

import importlib.util
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from videogvt.ops.video import as_bytes
from videogvt.pretrained.clips import write_mp4
from videogvt.report import page
from videogvt.report.images import DPI, INK, SOFT, animation, as_png, enlarge, merged, png, spread, strip, webp
from videogvt.train.contracts import Media

_WORDS, _LINE = FontProperties(size=10.5), 1.45  # beside a group, and from a line to the next
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
    room = int((pitch - 8) / (_WORDS.get_size_in_points() * _LINE * DPI / 72))
    column = COLUMN if any(names) else LEFT - 2 * EDGE
    for number, (picture, (words, _)) in enumerate(zip(pictures, groups)):
        top = HEAD + pitch * number
        figure.figimage(picture, LEFT, height - top - tall)
        figure.text(EDGE / width, 1 - (top + 8) / height, fitted_text(words, column, room, measure),
                    fontproperties=_WORDS, color=INK, va="top", linespacing=_LINE, parse_math=False)
        for row, name in enumerate(names):
            middle = top + tall * (row + 0.5) / len(names)
            place = ((LEFT - 8) / width, 1 - middle / height)
            figure.text(*place, name, fontsize=9.5, color=SOFT, va="center", ha="right")
    return figure


def _width_of(figure: Figure) -> Callable[[str], float]:
    """The width in pixels of a line of words in a figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    return lambda text: renderer.get_text_width_height_descent(text, _WORDS, False)[0]


def fitted_text(words: str, width: float, lines: int, measure: Callable[[str], float]) -> str:
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


FPS = 12.0  # of the animation of clips that do not say theirs


class _Clips(Protocol):
    """What is asked of a split: names, fields and random access."""

    class_names: tuple[str, ...]
    fields: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]: ...


def write_clip_gallery(
    source: _Clips, name: str, out_dir: pathlib.Path | str, *, seed: int = 0, clips: int = 12
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes ``gallery.html`` and ``gallery.png`` of clips drawn from a split and returns their paths.

    Args:
      source: a split, opened with ``video`` and, where they exist, ``label``, ``id`` and ``fps``.
      name: of the data set, for the title.
      out_dir: folder for the two files; made if missing.
      seed: chooses the clips.
      clips: how many; fewer when the split is smaller.
    """
    drawn = np.sort(np.random.default_rng(seed).choice(len(source), size=min(clips, len(source)), replace=False))
    batch = source.read(drawn.tolist())
    titles = [_title(source, batch, row, int(index)) for row, index in enumerate(drawn)]
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    picture = out_dir / "gallery.png"
    strips = [(title.replace(", ", "\n"), video[None]) for title, video in zip(titles[:8], batch["video"])]
    picture.write_bytes(as_png(labelled_strips(strips, f"{name}: clips", ("",))))
    frames, height, width = batch["video"].shape[1:4]
    lead = f"{len(source):,} clips of {frames} frames of {height} x {width} pixels"
    lead += f" in {len(source.class_names)} classes." if source.class_names else ", without classes."
    cards = [page.heading(title) + _card(batch, row) for row, title in enumerate(titles)]
    html = page.document(f"{name}: clips", page.paragraph(lead, "lead"), *cards)
    return page.write_page(out_dir / "gallery.html", html), picture


def _title(source: _Clips, batch: dict[str, np.ndarray], row: int, index: int) -> str:
    words = [str(batch["id"][row]) if "id" in batch else f"clip {index}"]
    if "label" in batch and source.class_names:
        words.append(source.class_names[batch["label"][row]])
    return ", ".join(words)


def _card(batch: dict[str, np.ndarray], row: int) -> str:
    video = batch["video"][row]
    fps = float(batch["fps"][row]) if "fps" in batch else FPS
    clip = animation([video], fps, max(1, 256 // video.shape[2]), slow=1.0, max_bytes=300_000)
    frames = strip([video], spread(len(video), 8), max(1, 128 // video.shape[2]))
    return page.row(page.html_picture(clip, "the clip, animated")) + page.html_picture(
        webp(frames, max_bytes=200_000), "frames of the clip", frame=False)


SAMPLE_FPS = 12.0
_ABOUT = "about.json"
_COLUMNS = 8  # frames of a contact sheet


def write_samples(
    folder: pathlib.Path, videos: Sequence[np.ndarray] | None, names: Sequence[str], about: Mapping[str, Any],
    codes: Mapping[str, np.ndarray] | None = None, steps: np.ndarray | None = None,
) -> list[pathlib.Path]:
    """Writes a GIF of each clip, an MP4 too where PyAV is installed, and of all together a WebP and a contact sheet.

    Clips of one frame are pictures: a PNG of each, in its own size, and the contact sheet.

    Args:
      folder: made if it is not there; what was written here before, by its ``about.json``, is taken away.
      videos: clips (T, H, W, 3) of one shape, in [0, 1]; None for codes alone.
      names: of the clips' files, without suffix.
      about: written to ``about.json``: what was asked for.
      codes: arrays for ``codes.npz``; None for no such file.
      steps: (S, T, H, W, 3), the first clip after each step of its decoding, for ``steps.webp`` and ``steps.png``.

    Returns:
      The paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, films = {}, {}
    scale = 1 if videos is None else max(1, 256 // videos[0].shape[1])
    if videos is not None and len(videos[0]) == 1:
        files |= {f"{name}.png": png(as_bytes(video[0])) for name, video in zip(names, videos, strict=True)}
        files["contact_sheet.png"] = png(_sheet(videos))
    elif videos is not None:
        frames = spread(len(videos[0]), _COLUMNS)
        films = {name: enlarge(as_bytes(video), scale) for name, video in zip(names, videos, strict=True)}
        files |= {f"{name}.gif": Media.animation(video, SAMPLE_FPS).data for name, video in films.items()}
        files["all.webp"] = animation(videos, SAMPLE_FPS, scale=max(1, scale // 2), slow=1.0)
        files["contact_sheet.png"] = png(strip(videos, frames, scale=max(1, scale // 2)))
    if codes is not None:
        files["codes.npz"] = Media.arrays(**codes).data
    if steps is not None:
        files["steps.webp"] = animation(list(steps), SAMPLE_FPS, scale=max(1, scale // 2), slow=1.0)
        files["steps.png"] = png(strip([np.stack([merged(as_bytes(step)) for step in steps])], range(len(steps))))
    films = {f"{name}.mp4": video for name, video in films.items()} if importlib.util.find_spec("av") else {}
    listed = {"clips": list(names), "files": [*files, *films], **about}
    for name in _listed(folder / _ABOUT):
        (folder / name).unlink(missing_ok=True)
    (folder / _ABOUT).write_text(json.dumps(listed, indent=2) + "\n")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, video in films.items():
        write_mp4(folder / name, video, SAMPLE_FPS)
    return [folder / name for name in (*files, _ABOUT, *films)]


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (1, H, W, 3) in rows, white where the last one ends: uint8 (rows, columns, 3)."""
    columns = min(_COLUMNS, len(pictures))
    cells = [as_bytes(picture[0]) for picture in pictures]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.stack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return strip(rows, range(columns), scale=1)


def _listed(path: pathlib.Path) -> list[str]:
    """Names of the files that an earlier call wrote beside its ``about.json``; none that lie elsewhere."""
    try:
        found = json.loads(path.read_text()).get("files", [])
    except (FileNotFoundError, ValueError, AttributeError):
        return []
    return [name for name in found if isinstance(name, str) and pathlib.Path(name).name == name]
