"""Generated clips as files: animations, codes, a contact sheet, and how the first of them came about."""

import importlib.util
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogvt.ops.video import as_bytes
from videogvt.pretrained.clips import write_mp4
from videogvt.report.images import animation, enlarge, merged, png, spread, strip
from videogvt.train.contracts import Media

FPS = 12.0
ABOUT = "about.json"
COLUMNS = 8  # frames of a contact sheet


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
        frames = spread(len(videos[0]), COLUMNS)
        films = {name: enlarge(as_bytes(video), scale) for name, video in zip(names, videos, strict=True)}
        files |= {f"{name}.gif": Media.animation(video, FPS).data for name, video in films.items()}
        files["all.webp"] = animation(videos, FPS, scale=max(1, scale // 2), slow=1.0)
        files["contact_sheet.png"] = png(strip(videos, frames, scale=max(1, scale // 2)))
    if codes is not None:
        files["codes.npz"] = Media.arrays(**codes).data
    if steps is not None:
        files["steps.webp"] = animation(list(steps), FPS, scale=max(1, scale // 2), slow=1.0)
        files["steps.png"] = png(strip([np.stack([merged(as_bytes(step)) for step in steps])], range(len(steps))))
    films = {f"{name}.mp4": video for name, video in films.items()} if importlib.util.find_spec("av") else {}
    listed = {"clips": list(names), "files": [*files, *films], **about}
    for name in _listed(folder / ABOUT):
        (folder / name).unlink(missing_ok=True)
    (folder / ABOUT).write_text(json.dumps(listed, indent=2) + "\n")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name, video in films.items():
        write_mp4(folder / name, video, FPS)
    return [folder / name for name in (*files, ABOUT, *films)]


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (1, H, W, 3) in rows, white where the last one ends: uint8 (rows, columns, 3)."""
    columns = min(COLUMNS, len(pictures))
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
