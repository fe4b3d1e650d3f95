"""The preview: a gallery of a world that a person can look at, as one HTML page and one picture.

For every family: frames, an animated clip, the track in the picture, the path in space with the cameras, the caption
and the equation.

Drawings of one example of a world: its frames, its track in the picture, and its path in space with the cameras.
"""

import pathlib
import re
import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from videogvt.report import page
from videogvt.report.images import DPI, INK, SOFT, animation, as_png, merged, png, spread, strip
from videogvt.world.example import example
from videogvt.world.spec import SPECS, WorldSpec

TIME_COLOURS = "plasma"  # first frame dark blue, last frame yellow
CAMERA_COLOURS = ("#20639b", "#c8553d", "#3c8d5f", "#7d5ba6")
CAMERA_DISTANCE = 1.25  # a camera farther than this many path extents is drawn this far away, in its true direction

Example = Mapping[str, np.ndarray]


def all_views(example: Example) -> list[np.ndarray]:
    """The videos (T, H, W, 3) of every camera, the first camera's first."""
    return [example["video"], *example.get("views", ())]


def frames_picture(example: Example, count: int = 6, width: int = 128, max_views: int = 4) -> np.ndarray:
    """Frames spread over the clip, side by side, one row for each camera, each about ``width`` pixels wide."""
    videos = all_views(example)[:max_views]
    scale = max(1, width // videos[0].shape[2])
    colours = [tuple(round(255 * part) for part in to_rgb(colour)) for colour in CAMERA_COLOURS[: len(videos)]]
    return strip(videos, spread(len(videos[0]), count), scale, colours if len(videos) > 1 else ())


def draw_track(axes: Axes, example: Example, camera: int = 0) -> None:
    """All frames of one camera laid over each other, with the true pixel positions of the object in order of time."""
    video, track_T2 = all_views(example)[camera], example["pixel_position"][camera]
    axes.imshow(merged(video), interpolation="nearest", alpha=0.55)
    segments = np.stack([track_T2[:-1], track_T2[1:]], axis=1)
    axes.add_collection(LineCollection(segments, cmap=TIME_COLOURS, array=np.arange(len(segments)), linewidths=1.2))
    axes.scatter(*track_T2.T, c=np.arange(len(track_T2)), cmap=TIME_COLOURS, s=11, zorder=3)
    height, width = video.shape[1:3]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=(0, width - 1), yticks=(0, height - 1))
    axes.tick_params(labelsize=7, colors="#5d6878", length=2)
    for spine in axes.spines.values():
        spine.set_color("#c3cad3")


def draw_path(axes: Axes3D, example: Example) -> None:
    """The path in metres, its shadow on the ground of the box, and every camera in its true direction."""
    path_T3 = example["position"].astype(np.float64)
    centre = (path_T3.min(axis=0) + path_T3.max(axis=0)) / 2
    extent = max(np.ptp(path_T3, axis=0).max(), 0.2)
    reach = CAMERA_DISTANCE * extent
    low, high = centre - reach, centre + reach
    floor_T3 = np.column_stack([path_T3[:, :2], np.full(len(path_T3), low[2])])
    axes.plot(*floor_T3.T, color="#b9c0ca", linewidth=1.5)
    segments = np.stack([path_T3[:-1], path_T3[1:]], axis=1)
    axes.add_collection3d(Line3DCollection(segments, cmap=TIME_COLOURS, array=np.arange(len(segments)), linewidths=2))
    axes.scatter(*path_T3.T, c=np.arange(len(path_T3)), cmap=TIME_COLOURS, s=16, depthshade=False)
    _draw_cameras(axes, example, centre, extent)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.patch.set_visible(False)
    axes.set_box_aspect((1, 1, 1), zoom=1.0)
    first_eye = -example["camera_R"][0, 0].T @ example["camera_t"][0, 0] - centre
    axes.view_init(elev=20, azim=np.degrees(np.arctan2(first_eye[1], first_eye[0])) + 55)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis), ("z", axes.zaxis)):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axis.set_tick_params(labelsize=7, colors="#5d6878", pad=-3)
        axis.set_label_text(f"{name} (m)", fontsize=8, color="#5d6878")
        axis.labelpad = -7
        axis.set_pane_color((0.97, 0.975, 0.98))
        axis._axinfo["grid"].update(color="#e3e7ec", linewidth=0.6)


def _draw_cameras(axes: Axes3D, example: Example, centre_3: np.ndarray, extent: float) -> None:
    R_ST33, t_ST3 = example["camera_R"].astype(np.float64), example["camera_t"].astype(np.float64)
    eye_ST3 = -np.einsum("stij,sti->stj", R_ST33, t_ST3)
    distance_ST1 = np.linalg.norm(eye_ST3 - centre_3, axis=-1, keepdims=True)
    drawn_ST3 = centre_3 + (eye_ST3 - centre_3) * np.minimum(1.0, CAMERA_DISTANCE * extent / distance_ST1)
    labelled: list[np.ndarray] = []
    for number, (R_T33, drawn_T3) in enumerate(zip(R_ST33, drawn_ST3)):
        colour = CAMERA_COLOURS[number % len(CAMERA_COLOURS)]
        axes.plot(*drawn_T3.T, color=colour, linewidth=1.2)
        moves = np.ptp(eye_ST3[number], axis=0).max() > 1e-6
        for frame in (0, -1) if moves else (0,):
            edges = _frustum(R_T33[frame], drawn_T3[frame], 0.35 * extent)
            axes.add_collection3d(Line3DCollection(edges, colors=colour, linewidths=1.1))
            sight = np.stack([drawn_T3[frame], centre_3])
            axes.plot(*sight.T, color=colour, linewidth=0.7, linestyle=(0, (2, 3)))
        if all(np.linalg.norm(drawn_T3[0] - other) > 0.4 * extent for other in labelled):
            labelled.append(drawn_T3[0])
            metres = f"{distance_ST1[number, 0, 0]:.1f} m"
            axes.text(*(drawn_T3[0] + (0, 0, 0.3 * extent)), metres, fontsize=8, color=colour, ha="center")


def _frustum(R_33: np.ndarray, eye_3: np.ndarray, depth: float) -> list[np.ndarray]:
    """The edges of a camera's pyramid of sight, as line segments in the world; its opening is drawn, not to scale."""
    half = 0.42 * depth
    corners = np.array([(-half, -half, depth), (half, -half, depth), (half, half, depth), (-half, half, depth)])
    corners = eye_3 + corners @ R_33
    sides = [np.stack([eye_3, corner]) for corner in corners]
    return [*sides, *(np.stack([corners[i], corners[(i + 1) % 4]]) for i in range(4))]


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
    shown = choose_examples(spec, split, clips, seed)
    out_dir = pathlib.Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    picture = out_dir / "gallery.png"
    picture.write_bytes(poster(spec, [examples[0] for examples in shown.values()]))
    return page.write_page(out_dir / "gallery.html", gallery_page(spec, split, shown)), picture


def choose_examples(spec: WorldSpec, split: str, clips: int, seed: int) -> dict[str, list[Example]]:
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


def poster(spec: WorldSpec, shown: list[Example]) -> bytes:
    """The picture: a row for each family, as PNG bytes."""
    views = min(len(all_views(shown[0])), 4)
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
    ramp.imshow(np.linspace(0, 1, 64)[None], cmap=TIME_COLOURS, aspect="auto")
    ramp.set_axis_off()
    figure.text(0.095, 1 - 1.47 / height, "first to last frame", fontsize=9, color=SOFT, va="center")
    for number, item in enumerate(shown):
        bottom = (height - head - (number + 1) * row) / height
        _poster_row(figure, item, bottom, row / height, columns)
    return as_png(figure)


def _poster_row(figure: Figure, item: Example, bottom: float, height: float, columns: tuple[float, ...]) -> None:
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
    frames, shown = frames_picture(item), spread(len(item["video"]), 6)
    rows, width = frames.shape[0] / DPI * inch, frames.shape[1] / DPI / WIDTH_IN
    figure.figimage(frames, columns[0] * WIDTH_IN * DPI, (middle - rows / 2) / inch * DPI)
    for column, frame in enumerate(shown):
        figure.text(columns[0] + (column + 0.5) / len(shown) * width, middle - rows / 2 - 0.14 * inch,
                    f"frame {frame + 1}", fontsize=8, color=SOFT, ha="center")
    draw_track(figure.add_axes((columns[1] + 0.005, middle - 0.9 * inch, 0.112, 1.8 * inch)), item)
    space = figure.add_axes((columns[2] - 0.012, bottom + 0.01 * height, 0.19, 0.98 * height), projection="3d")
    draw_path(space, item)


def short(equation: str) -> str:
    """An equation with its numbers rounded to three digits, to be read rather than evaluated."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.3g}", equation)


def gallery_page(spec: WorldSpec, split: str, shown: dict[str, list[Example]]) -> str:
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


def _card(spec: WorldSpec, item: Example) -> str:
    views, video = all_views(item), item["video"]
    scale = max(1, 256 // video.shape[2])
    clip = animation(views[:4], spec.fps, scale if len(views) == 1 else max(1, scale // 2))
    figure = Figure(figsize=(6.2, 2.7), dpi=DPI, facecolor="white")
    draw_track(figure.add_axes((0.04, 0.09, 0.37, 0.85)), item)
    draw_path(figure.add_axes((0.42, 0.0, 0.56, 1.0), projection="3d"), item)
    frames = frames_picture(item, count=8, width=64 if len(views) > 1 else 128)
    return "".join((
        page.heading(item["caption"]),
        page.row(page.html_picture(clip, f"{item['family']} motion, animated"),
                 page.html_picture(as_png(figure), "the track in the picture and the path in space", frame=False)),
        page.html_picture(png(frames), "frames of the clip", frame=False),
        page.code("\n".join(item["equation"].split("; "))),
        page.paragraph(f"{item['id']}: position in metres, t in seconds. Parameters: {item['parameters']}", "note"),
    ))
