"""Measures both trackers and the oracle in scenes, against truth: ``python benchmarks/scenes.py --split=test``.

    python benchmarks/scenes.py [--split=validation] [--clips=100] [--only TEXT ...] [--output=FILE]

A row for each disturbance and strength, a line for each tracker: the worlds ``hard64`` and ``moving64`` (by how far the
camera orbits), ``hard64`` with more of each of its disturbances, ``mono64`` corrupted by ``study.corrupted_clips``, and
balls before photographs (``world.photographs``), those of validation and of test being others. Thresholds were chosen
on validation. The figures:

- told: share of frames for which a place is told, the bridged ones of the new tracker too;
- within 2 px: share of all frames told within 2 px of the truth, whether the ball can be seen or not;
- error: distance to the truth over the frames told, px: median and 95th percentile;
- hidden: share within 2 px of the frames in which less than a tenth of the ball is in sight;
- 95 % circle: share of the frames told whose error lies within the radius in which 95 % ought to, by the std that
  the new tracker tells;
- oracle: share of clips whose class the oracle names.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from videogvt.study.robustness import CORRUPTIONS
from videogvt.world import oracle
from videogvt.world.example import example
from videogvt.world.photographs import PHOTOGRAPHS, photographed
from videogvt.world.scene_tracker import classify_scenes, track_scenes
from videogvt.world.spec import SPECS, WorldSpec
from videogvt.world.tracker import track_over_scenery

BATCH = 25
HEADINGS = ("condition", "clips", "tracker", "told", "within 2 px", "median, px", "95th, px", "hidden", "95 % circle",
            "oracle")
CIRCLE = np.sqrt(-2 * np.log(0.05))  # stds along an axis within which 95 % of a plane's normal distribution lie
FIELDS = ("video", "position", "visibility", "family", "extra")  # extra: what a row may be split by
Clips = dict[str, np.ndarray]

HARD, MONO = SPECS["hard64"], SPECS["mono64"]
VARIANTS = {
    "noise 0.05": {"sensor_noise": 0.05}, "noise 0.1": {"sensor_noise": 0.1}, "noise 0.2": {"sensor_noise": 0.2},
    "blur of all the interval": {"motion_blur": 1.0}, "8 distractors": {"distractors": 8}, "3 posts": {"occluders": 3},
    "6 posts": {"occluders": 6}, "texture": {"background": "texture"},
}
CORRUPTED = {"noise": (0.05, 0.1, 0.2), "blur": (1.0, 2.0), "occlusion": (0.05, 0.1, 0.25)}
PANS = ({}, {"noise": 0.05}, {"pan": 0.5}, {"pan": 1.0}, {"pan": 2.0}, {"pan": 3.0}, {"pan": 1.0, "zoom": 0.1},
        {"pan": 1.0, "noise": 0.05})


def of_world(spec: WorldSpec, split: str, indices: Sequence[int]) -> Clips:
    """Examples of a world; ``extra`` is the angle in rad by which the camera goes around the scene."""
    rows = [example(spec, split, index) for index in indices]
    turns = [np.arccos(np.clip((np.trace(row["camera_R"][0, 0].T @ row["camera_R"][0, -1]) - 1) / 2, -1, 1))
             for row in rows]
    return {"video": np.stack([row["video"] for row in rows]), "extra": np.array(turns),
            "position": np.stack([row["pixel_position"][0] for row in rows]),
            "visibility": np.stack([row["visibility"][0] for row in rows]),
            "family": np.array([row["family"] for row in rows])}


def corrupted(name: str, level: float, split: str, indices: Sequence[int]) -> Clips:
    """Examples of ``mono64``, corrupted; of those that are occluded it is not known where the ball is hidden."""
    clips = of_world(MONO, split, indices)
    return clips | {"video": CORRUPTIONS[name](clips["video"], level, list(indices))}


def before_photographs(options: dict[str, float], split: str, indices: Sequence[int]) -> Clips:
    """Balls before photographs, these in turn; blurred by motion, without posts. ``extra`` is the ball's contrast."""
    names, spec = PHOTOGRAPHS[split], replace(HARD, occluders=0)
    rows = [photographed(spec, split, i, name=names[i // len(spec.families) % len(names)], **options) for i in indices]
    return {"video": np.stack([row.video_THWC for row in rows]), "family": np.array([row.family for row in rows]),
            "position": np.stack([row.position_T2 for row in rows]),
            "visibility": np.stack([row.visibility_T for row in rows]),
            "extra": np.array([row.contrast_T.mean() for row in rows])}


def conditions() -> Iterator[tuple[str, Callable[[str, Sequence[int]], Clips], tuple[float, ...], str]]:
    """Name, maker of clips, bounds by which ``extra`` splits the row, and what that is."""
    yield "hard64", lambda *at: of_world(HARD, *at), (), ""
    yield "moving64", lambda *at: of_world(SPECS["moving64"], *at), (0.2, 0.4), "orbit, rad"
    for name, change in VARIANTS.items():
        yield f"hard64, {name}", lambda *at, change=change: of_world(replace(HARD, **change), *at), (), ""
    for name, levels in CORRUPTED.items():
        for level in levels:
            yield f"mono64, {name} {level}", lambda *at, own=(name, level): corrupted(*own, *at), (), ""
    for options in PANS:
        told = ", ".join(f"{name} {value}" for name, value in options.items()) or "still"
        yield (f"photographs, {told}", lambda *at, options=options: before_photographs(options, *at),
               (0.2, 0.4) if not options else (), "contrast")


def tracked(clips: Clips) -> dict[str, tuple[np.ndarray, ...]]:
    """Places (B, T, 2), the oracle's names (B,) and the places' stds (B, T) by tracker; of the truth, too."""
    unknown_BT = np.full(clips["visibility"].shape, np.nan)
    old, new = track_over_scenery(clips["video"]), track_scenes(clips["video"])
    return {"old": (old.position_T2, oracle.classify(old.position_T2), unknown_BT),
            "new": (new.position_BT2, classify_scenes(new), new.std_BT),
            "truth": (clips["position"], oracle.classify(clips["position"]), unknown_BT)}


def figures(clips: Clips, place_BT2: np.ndarray, named_B: np.ndarray, std_BT: np.ndarray) -> dict[str, float]:
    """The figures that this module's documentation lists."""
    error_BT = np.linalg.norm(place_BT2 - clips["position"], axis=-1)
    told_BT, hidden_BT = np.isfinite(error_BT), clips["visibility"] < 0.1
    near_BT = np.nan_to_num(error_BT, nan=np.inf) <= 2.0
    middle, high = np.percentile(error_BT[told_BT], (50, 95)) if told_BT.any() else (np.nan, np.nan)
    sized_BT = told_BT & np.isfinite(std_BT)
    inside_BT = error_BT[sized_BT] <= CIRCLE * std_BT[sized_BT]
    return {"told": told_BT.mean(), "near": near_BT.mean(), "median": middle, "p95": high,
            "hidden": near_BT[hidden_BT].mean() if hidden_BT.any() else np.nan, "hidden_frames": int(hidden_BT.sum()),
            "inside": inside_BT.mean() if sized_BT.any() else np.nan, "named": np.mean(named_B == clips["family"])}


def measured(make, split: str, count: int, bounds: tuple[float, ...], what: str) -> Iterator[tuple[str, dict]]:
    """(part, tracker, figures) of a condition: of all its clips, and of those between bounds."""
    parts = []
    for start in range(0, count, BATCH):
        clips = make(split, range(start, min(start + BATCH, count)))
        answers = tracked(clips)
        parts.append(({name: clips[name] for name in FIELDS if name != "video"}, answers))
    clips = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
    edges = (-np.inf, *bounds, np.inf)
    chosen = [("", np.ones(count, bool))]
    for low, high in zip(edges, edges[1:]) if bounds else ():
        text = f"below {high}" if low == -np.inf else f"from {low}"
        chosen.append((f"{what} {text}", (clips["extra"] >= low) & (clips["extra"] < high)))
    for part, rows in chosen:
        own = {name: values[rows] for name, values in clips.items()}
        for tracker in parts[0][1]:
            answer = [np.concatenate([answers[tracker][i] for _, answers in parts])[rows] for i in range(3)]
            if rows.any():
                yield part, {"tracker": tracker, "clips": int(rows.sum()), **figures(own, *answer)}


def line(name: str, row: dict) -> str:
    """A row as a line of a table."""
    hidden = "" if np.isnan(row["hidden"]) else f"{row['hidden']:.1%} of {row['hidden_frames']}"
    inside = "" if np.isnan(row["inside"]) else f"{row['inside']:.1%}"
    return (f"| {name} | {row['clips']} | {row['tracker']} | {row['told']:.1%} | {row['near']:.1%} |"
            f" {row['median']:.2f} | {row['p95']:.2f} | {hidden} | {inside} | {row['named']:.1%} |")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="validation", choices=tuple(PHOTOGRAPHS))
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=[""], metavar="TEXT", help="conditions whose name begins like one")
    parser.add_argument("--output", type=pathlib.Path, help="write the rows as JSON")
    options = parser.parse_args(argv)
    if options.clips < 1:
        parser.error(f"found --clips={options.clips}, expected 1 or more")
    rows = []
    print("| " + " | ".join(HEADINGS) + " |", "| --- " * len(HEADINGS) + "|", sep="\n")
    for name, make, bounds, what in conditions():
        if not name.startswith(tuple(options.only)):
            continue
        start = time.process_time()
        for part, row in measured(make, options.split, options.clips, bounds, what):
            rows.append({"condition": name, "part": part, "split": options.split, **row})
            if row["tracker"] != "truth" or name.startswith("moving64"):
                print(line(f"{name}, {part}" if part else name, row), flush=True)
        rows[-1]["seconds"] = time.process_time() - start
        if options.output:
            options.output.write_text(json.dumps(rows, indent=1))
    if not rows:
        parser.error(f"no condition begins with {options.only!r}; there are {[each[0] for each in conditions()]}")


if __name__ == "__main__":
    main()
