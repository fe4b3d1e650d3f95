"""Measures a world: speed, framing, tracker error, oracle rates, leaks. ``python benchmarks/world.py mono64 --leaks``.

Prints one line per measure. ``--clips`` examples of ``--split`` are drawn; learners fit twice as many of ``train``.
"""

import argparse
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from videogvt.world.example import example
from videogvt.world.oracle import classify
from videogvt.world.spec import SPECS
from videogvt.world.tracker import still_background, track

KEPT = ("video", "pixel_position", "radius_px", "family", "label", "camera_R", "camera_K", "camera_t", "velocity")


def draw(spec, split: str, count: int, frames: int) -> dict[str, np.ndarray]:
    """``count`` examples, fields stacked, the first ``frames`` of each video."""
    clips = []
    for index in range(count):
        clip = example(spec, split, index)
        clips.append({name: clip[name] for name in KEPT} | {"video": clip["video"][:frames].copy()})
    return {name: np.stack([clip[name] for clip in clips]) for name in KEPT}


def show_scene(spec, clips) -> None:
    """Ball radius and path length in reference pixels (64 on the short side)."""
    radius, pixels = clips["radius_px"] / spec.pixel_unit, clips["pixel_position"][:, 0] / spec.pixel_unit
    print(f"radius: {radius.min():.2f} to {radius.max():.2f} px, median {np.median(radius):.2f}")
    length = np.linalg.norm(np.diff(pixels, axis=1), axis=-1).sum(axis=1)
    for family in spec.families:
        print(f"path length, {family}: median {np.median(length[clips['family'] == family]):.1f} px")


def show_tracker_and_oracle(spec, clips) -> None:
    """Tracker error against truth; share of clips that the oracle names rightly."""
    pixels, size = clips["pixel_position"][:, 0].astype(np.float64), min(spec.height, spec.width)
    start = time.process_time()
    still = spec.background == "white"
    found = [track(video, None if still else still_background(video)) for video in clips["video"]]
    print(f"tracker: {1e3 * (time.process_time() - start) / len(found):.2f} ms per clip")
    tracks = np.stack([each.position_T2 for each in found])
    error = np.linalg.norm(tracks - pixels, axis=-1)
    share = np.isfinite(error).mean()
    middle, most = np.nanmedian(error), np.nanmax(error)
    print(f"tracker: found {share:.4f} of frames, error median {middle:.3f} px, max {most:.3f} px")
    noise = np.random.default_rng(0).normal(0, 0.5 * spec.pixel_unit, pixels.shape)
    for name, seen in {"noiseless": pixels, "rendered": tracks, "0.5 px of noise": pixels + noise}.items():
        start = time.process_time()
        named = classify(seen, fps=spec.fps, families=spec.families, size=size)
        cost = 1e3 * (time.process_time() - start) / len(seen)
        print(f"oracle, {name}: {np.mean(named == clips['family']):.4f} right, {cost:.2f} ms per clip")


def show_leaks(spec, train, test) -> None:
    """Accuracy of learners that see only the start, beside the 99 % interval of chance."""
    chance = 1 / len(spec.families)
    margin = 2.576 * np.sqrt(chance * (1 - chance) / len(test["label"]))
    print(f"chance: {chance:.3f} +- {margin:.3f} (99 %)")
    views = {
        "first frame": lambda c: c["video"][:, 0].reshape(len(c["label"]), -1).astype(np.float32) / 255,
        "start pixel and radius": lambda c: np.column_stack([c["pixel_position"][:, 0, 0], c["radius_px"][:, 0, 0]]),
    }
    for name, see in views.items():
        for learner in (LogisticRegression(C=0.1, max_iter=30), MLPClassifier((32,), max_iter=15, random_state=0)):
            model = make_pipeline(StandardScaler(), learner).fit(see(train), train["label"])
            print(f"leak, {name}, {type(learner).__name__}: {model.score(see(test), test['label']):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", choices=SPECS)
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--leaks", action="store_true")
    options = parser.parse_args()
    spec = SPECS[options.spec]
    start = time.process_time()
    clips = draw(spec, options.split, options.clips, spec.num_frames)
    print(f"processor time per clip: {1e3 * (time.process_time() - start) / options.clips:.2f} ms")
    show_scene(spec, clips)
    show_tracker_and_oracle(spec, clips)
    if options.leaks:
        show_leaks(spec, draw(spec, "train", 2 * options.clips, 1), clips)


if __name__ == "__main__":
    main()
