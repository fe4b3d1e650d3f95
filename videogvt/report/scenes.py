"""Drawings of one example of a world: its frames, its track in the picture, and its path in space with the cameras."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from videogvt.report.images import merged, spread, strip

TIME_COLOURS = "plasma"  # first frame dark blue, last frame yellow
CAMERA_COLOURS = ("#20639b", "#c8553d", "#3c8d5f", "#7d5ba6")
CAMERA_DISTANCE = 1.25  # a camera farther than this many path extents is drawn this far away, in its true direction

Example = Mapping[str, np.ndarray]


def all_views(example: Example) -> list[np.ndarray]:
    """The videos (T, H, W, 3) of every camera, the first camera's first."""
    return [example["video"], *example.get("views", ())]


def frames_picture(example: Example, count: int = 6, width: int = 128, most_views: int = 4) -> np.ndarray:
    """Frames spread over the clip, side by side, one row for each camera, each about ``width`` pixels wide."""
    videos = all_views(example)[:most_views]
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


