"""The preview of any other data set (a folder of videos, a user's own tracks): its clips, class by class."""

import pathlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from videogvt.report import page
from videogvt.report.figures import as_png
from videogvt.report.images import animation, spread, strip, webp
from videogvt.report.strips import labelled_strips

FPS = 12.0  # of the animation of clips that do not say theirs


class Clips(Protocol):
    """What is asked of a split: names, fields and random access."""

    class_names: tuple[str, ...]
    fields: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> dict[str, np.ndarray]: ...


def write_clip_gallery(
    source: Clips, name: str, out_dir: pathlib.Path | str, *, seed: int = 0, clips: int = 12
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


def _title(source: Clips, batch: dict[str, np.ndarray], row: int, index: int) -> str:
    words = [str(batch["id"][row]) if "id" in batch else f"clip {index}"]
    if "label" in batch and source.class_names:
        words.append(source.class_names[batch["label"][row]])
    return ", ".join(words)


def _card(batch: dict[str, np.ndarray], row: int) -> str:
    video = batch["video"][row]
    fps = float(batch["fps"][row]) if "fps" in batch else FPS
    clip = animation([video], fps, max(1, 256 // video.shape[2]), slow=1.0, most=300_000)
    frames = strip([video], spread(len(video), 8), max(1, 128 // video.shape[2]))
    return page.row(page.picture(clip, "the clip, animated")) + page.picture(
        webp(frames, most=200_000), "frames of the clip", frame=False)
