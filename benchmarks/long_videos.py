"""Videos longer than a clip: does the object stay one, and how long does it keep to its family?

    python benchmarks/long_videos.py --workdir=runs/maskgvt_traj-multitask [--frames=64] [--given=8] [--overlap=0]
        [--clips=100] [--split=validation] [--seed=0] [--batch_size=25] [--output=FILE] [--data_dir=DIR]

The generator continues real clips of a split: it is given their first frames, and then its own last ones, prediction
after prediction. Every window of a clip's length, from one prediction to the next, is measured like a generated clip,
beside the window that real clips are, as they are and through the tokenizer. ``--class`` says the true class with every
prediction (task CFP in the place of FP).

Families are those of whole clips: a line that is to stay in the picture cannot go on for four times as long. So the
oracle's answer says for how long a video is of its family, not that it ought to be.
"""

import argparse
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from videogvt.core.backend import prepare_backend

prepare_backend()

from videogvt import VideoGenerator  # noqa: E402
from videogvt.core.mistakes import reported  # noqa: E402
from videogvt.evals.motion import TRUTH, Training, describe_motion, motion_columns  # noqa: E402
from videogvt.jobs.experiment import open_without_more_clips  # noqa: E402
from videogvt.ops.video import as_bytes  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402

FIGURES = {  # of a window: heading and form
    "one_object": ("one object", "{:.1%}"), "found": ("found, of frames", "{:.1%}"),
    "correct": ("oracle", "{:.1%}"), "fit_px": ("misfit of the family, px, median", "{:.2f}"),
    "speed": ("speed, px a frame, median", "{:.2f}"), "radius": ("radius, px, median", "{:.2f}"),
}


def window_figures(video_BTHWC: np.ndarray, label_B: np.ndarray, training: Training) -> dict[str, float]:
    """The figures of clips, uint8, that are meant to be of these classes."""
    table = describe_motion(motion_columns(video_BTHWC), label_B, training)
    shares = {name: float(np.mean(table[name])) for name in ("one_object", "found", "correct")}
    known = {name: table[name][~np.isnan(table[name])] for name in ("fit_px", "speed", "radius")}
    return shares | {name: float(np.median(values)) if len(values) else np.nan for name, values in known.items()}


def rows_of(videos: Mapping[str, np.ndarray], label_B: np.ndarray, training: Training, step: int) -> list[dict]:
    """A row for each window of a clip's length, ``step`` frames from one to the next.

    Args:
      videos: by name, uint8 (B, T, H, W, 3), of a clip's length or more.
      label_B: classes.
      training: see ``evals.motion``.
      step: frames.
    """
    frames = training.columns["track"].shape[1]
    return [{"row": name, "from": start} | window_figures(video[:, start:start + frames], label_B, training)
            for name, video in videos.items() for start in range(0, video.shape[1] - frames + 1, step)]


def table(rows: Sequence[Mapping]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines."""
    return (["", "frames", *(title for title, _ in FIGURES.values())],
            [[row["row"], f"from {row['from']}", *(form.format(row[name]) for name, (_, form) in FIGURES.items())]
             for row in rows])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--class", dest="told", action="store_true", help="say the class with every prediction")
    numbers = {"frames": 64, "given": 8, "overlap": 0, "clips": 100, "batch_size": 25, "seed": 0}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    flags = parser.parse_args(arguments)
    generator = VideoGenerator.load(flags.workdir, data_dir=flags.data_dir, batch_size=flags.batch_size)
    fields = ("video", "label", "fps", *TRUTH)
    clips = open_without_more_clips(generator.config, flags.split, fields, flags.data_dir)
    training = Training.of(open_without_more_clips(generator.config, "train", fields, flags.data_dir))
    batch = clips.read(list(range(min(flags.clips, len(clips)))))
    real, label_B = batch["video"], batch["label"]
    length = real.shape[1]
    if not 0 < flags.given < length:
        parser.error(f"--given={flags.given}; expected 1 to {length - 1} frames of a clip's {length}.")
    longer = []
    for start in range(0, len(real), flags.batch_size):
        rows = slice(start, start + flags.batch_size)
        told = {"label": label_B[rows]} if flags.told else {}
        longer.append(np.asarray(as_bytes(generator.extend(
            real[rows, :flags.given], flags.frames, given=flags.given, overlap=flags.overlap,
            seed=flags.seed + start, **told))))
        print(f"{min(start + flags.batch_size, len(real))} of {len(real)} videos", flush=True)
    videos = {"real": real, "real, through the tokenizer": np.asarray(as_bytes(generator.tokenizer.reconstruct(real))),
              "predicted": np.concatenate(longer)}
    rows = rows_of(videos, label_B, training, length - flags.given)
    if flags.output:
        about = {name: str(value) for name, value in vars(flags).items()}
        flags.output.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
        np.savez_compressed(flags.output.with_suffix(".npz"), video=videos["predicted"], label=label_B)
    print(as_text(*table(rows)))


if __name__ == "__main__":
    with reported():
        main()
