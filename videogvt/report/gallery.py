"""The preview: a gallery of a world that a person can look at, as one HTML page and one picture.

For every family: frames, an animated clip, the track in the picture, the path in space with the cameras, the caption
and the equation.
"""

import pathlib
import re
import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from videogvt.report import page, scenes
from videogvt.report.figures import DPI, INK, SOFT, as_png
from videogvt.report.images import animation, png, spread
from videogvt.world.example import example
from videogvt.world.spec import SPECS, WorldSpec

WIDTH_IN = 16.0  # the picture is 1600 pixels wide


def write_gallery(
    spec: WorldSpec | str, out_dir: pathlib.Path | str, *, seed: int = 0, split: str = "train", clips: int = 3
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes ``gallery.html`` and ``gallery.png`` and returns their paths.

    Args:
      spec: a world or the name of one in ``SPECS``.
      out_dir: folder for the two files; made if missing.
      seed: chooses the examples.
      split: the split to show.
      clips: examples of every family on the page; the picture shows the first of them.
    """
    spec = SPECS[spec] if isinstance(spec, str) else spec
    shown = choose(spec, split, clips, seed)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    picture = out_dir / "gallery.png"
    picture.write_bytes(poster(spec, [examples[0] for examples in shown.values()]))
    return page.write_page(out_dir / "gallery.html", gallery_page(spec, split, shown)), picture


def choose(spec: WorldSpec, split: str, clips: int, seed: int) -> dict[str, list[scenes.Example]]:
    """``clips`` examples of every family, drawn without repetition."""
    rounds = spec.split_size(split) // len(spec.families)
    if not rounds:
        raise ValueError(f"The split {split!r} of {spec.name} holds fewer clips than there are families.")
    drawn = np.random.default_rng(seed).choice(rounds, size=min(clips, rounds), replace=False)
    return {family: [example(spec, split, int(number) * len(spec.families) + label) for number in drawn]
            for label, family in enumerate(spec.families)}


def summary(spec: WorldSpec) -> str:
    """What the world is, in a sentence or two."""
    count = {"mono": "one camera", "stereo": "two calibrated cameras", "ring": f"{spec.num_cameras} cameras in a ring",
             "moving": "one moving camera"}[spec.rig]
    sizes = ", ".join(f"{size:,} {name}" for name, size in spec.splits)
    return (
        f"A ball moves in {len(spec.families)} ways, seen by {count}: {spec.num_frames} frames of "
        f"{spec.height} x {spec.width} pixels at {spec.fps:g} frames a second ({sizes} clips). Of every clip the path "
        "in metres, the cameras, the track in pixels, the equation and a caption are known exactly."
    )


def poster(spec: WorldSpec, shown: list[scenes.Example]) -> bytes:
    """The picture: a row for each family, as PNG bytes."""
    views = min(len(scenes.all_views(shown[0])), 4)
    head, row = 1.65, max(2.6, 0.6 + 1.33 * views)
    height = head + row * len(shown) + 0.15
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
    figure.text(0.02, 1 - 0.38 / height, f"{spec.name}: trajectories in three dimensions, as video", fontsize=21,
                fontweight="bold", color=INK, va="center")
    figure.text(0.02, 1 - 0.72 / height, textwrap.fill(summary(spec), 165), fontsize=11.5, color=SOFT, va="top",
                linespacing=1.35)
    columns = (0.185, 0.695, 0.82)
    titles = ("What the camera sees", "All frames, the track", "Path, cameras (drawn near)")
    for left, title in zip(columns, titles):
        figure.text(left, 1 - 1.47 / height, title, fontsize=11.5, color=INK, fontweight="bold", va="center")
    ramp = figure.add_axes((0.02, 1 - 1.53 / height, 0.07, 0.11 / height))
    ramp.imshow(np.linspace(0, 1, 64)[None], cmap=scenes.TIME_COLOURS, aspect="auto")
    ramp.set_axis_off()
    figure.text(0.095, 1 - 1.47 / height, "first to last frame", fontsize=9, color=SOFT, va="center")
    for number, item in enumerate(shown):
        bottom = (height - head - (number + 1) * row) / height
        _poster_row(figure, item, bottom, row / height, columns)
    return as_png(figure)


def _poster_row(figure: Figure, item: scenes.Example, bottom: float, height: float, columns: tuple[float, ...]) -> None:
    inch = 1 / figure.get_figheight()
    top, middle = bottom + height, bottom + height / 2
    figure.add_artist(Line2D((0.02, 0.98), (top, top), color="#dfe4ea", linewidth=1))
    figure.text(0.02, top - 0.25 * inch, item["family"], fontsize=17, fontweight="bold", color=INK, va="top")
    caption = textwrap.fill(item["caption"], 31)
    figure.text(0.02, top - 0.65 * inch, caption, fontsize=10.5, color=INK, va="top", linespacing=1.3)
    parts = short(item["equation"]).split("; ")
    equation = "\n".join(textwrap.fill(part, 45, subsequent_indent="    ") for part in parts)
    below = top - (0.78 + 0.2 * (caption.count("\n") + 1)) * inch
    figure.text(0.02, below, equation, fontsize=6.8, color=SOFT, va="top", family="monospace", linespacing=1.35)
    frames, shown = scenes.frames_picture(item), spread(len(item["video"]), 6)
    rows, width = frames.shape[0] / DPI * inch, frames.shape[1] / DPI / WIDTH_IN
    figure.figimage(frames, columns[0] * WIDTH_IN * DPI, (middle - rows / 2) / inch * DPI)
    for column, frame in enumerate(shown):
        figure.text(columns[0] + (column + 0.5) / len(shown) * width, middle - rows / 2 - 0.14 * inch,
                    f"frame {frame + 1}", fontsize=8, color=SOFT, ha="center")
    scenes.draw_track(figure.add_axes((columns[1] + 0.005, middle - 0.9 * inch, 0.112, 1.8 * inch)), item)
    space = figure.add_axes((columns[2] - 0.012, bottom + 0.01 * height, 0.19, 0.98 * height), projection="3d")
    scenes.draw_path(space, item)


def short(equation: str) -> str:
    """An equation with its numbers rounded to three digits, to be read rather than evaluated."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.3g}", equation)


def gallery_page(spec: WorldSpec, split: str, shown: dict[str, list[scenes.Example]]) -> str:
    """The page: a section for each family, in it a card for each example."""
    sections = [page.section(family, *(_card(spec, item) for item in examples)) for family, examples in shown.items()]
    notes = (
        "Colour runs with time from dark blue (first frame) to yellow (last). Animations run at half speed. Cameras "
        "are drawn in their true direction but nearer than they stand; the number beside each is its true distance. "
        "The grey line is the path's shadow on the floor of the box."
    )
    title = f"{spec.name}: trajectories in three dimensions, as video"
    return page.document(title, page.paragraph(summary(spec), "lead"),
                         page.paragraph(f"Examples of the split {split!r}. {notes}", "note"), *sections)


def _card(spec: WorldSpec, item: scenes.Example) -> str:
    views, video = scenes.all_views(item), item["video"]
    scale = max(1, 256 // video.shape[2])
    clip = animation(views[:4], spec.fps, scale if len(views) == 1 else max(1, scale // 2))
    figure = Figure(figsize=(6.2, 2.7), dpi=DPI, facecolor="white")
    scenes.draw_track(figure.add_axes((0.04, 0.09, 0.37, 0.85)), item)
    scenes.draw_path(figure.add_axes((0.42, 0.0, 0.56, 1.0), projection="3d"), item)
    frames = scenes.frames_picture(item, count=8, width=64 if len(views) > 1 else 128)
    return "".join((
        page.heading(item["caption"]),
        page.row(page.picture(clip, f"{item['family']} motion, animated"),
                 page.picture(as_png(figure), "the track in the picture and the path in space", frame=False)),
        page.picture(png(frames), "frames of the clip", frame=False),
        page.code("\n".join(item["equation"].split("; "))),
        page.paragraph(f"{item['id']}: position in metres, t in seconds. Parameters: {item['parameters']}", "note"),
    ))
