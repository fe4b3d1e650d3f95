"""From a finished run to a bundle that can be shipped, with a card that says where it comes from.

    python -m videogvt.pretrained.export RUN FOLDER [--data_dir DIR]

FOLDER's name becomes the tokenizer's. Below ``videogvt/pretrained/`` it ships with the package; anywhere else
``VideoTokenizer.load(FOLDER)`` finds it. Two clips of the run's data go along, with their codes.
"""

import argparse
import functools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from videogvt.inputs.sources import open_source
from videogvt.pretrained.bundle import CONFIG, write_bundle
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.train import journal
from videogvt.train.state import parameter_count

GOLDEN_CLIPS = 2
ROWS = {"": "tokenizer", "background": "all background", "untrained": "untrained", "original": "originals"}


def export(workdir: os.PathLike, folder: os.PathLike, data_dir: os.PathLike | None = None) -> pathlib.Path:
    """Writes the best checkpoint of a finished run as a bundle; the folder is there whole or not at all.

    Args:
      workdir: directory of the run.
      folder: to be made; one that exists is not touched.
      data_dir: root of the data sets.

    Raises:
      FileNotFoundError: the run is not finished.
      FileExistsError: ``folder`` exists.
    """
    workdir, folder = pathlib.Path(workdir), pathlib.Path(folder).absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it, or choose another name.")
    final = journal.read_eval(workdir)
    if final is None:
        raise FileNotFoundError(f"{workdir} holds no finished run: eval.json is missing. Train it to the end first.")
    tokenizer = VideoTokenizer.load(workdir, step=final["about"]["step"])
    run = json.loads((workdir / CONFIG).read_text())
    environment = json.loads((workdir / "environment.json").read_text())
    config = {"name": folder.name, "tokenizer": tokenizer.config, "hash": tokenizer.hash, "run": run}
    unfinished = folder.with_name(f"incomplete.{os.getpid()}_{folder.name}")
    unfinished.mkdir(parents=True)
    try:
        golden = golden_clips(tokenizer, run["data"], data_dir)
        text = card(folder.name, tokenizer, run, environment, final)
        write_bundle(unfinished, config, tokenizer.params, golden, text)
        unfinished.rename(folder)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
    return folder


def golden_clips(
    tokenizer: VideoTokenizer, data: Mapping[str, Any], data_dir: os.PathLike | None
) -> dict[str, np.ndarray]:
    """The first clips of the test split with their codes, and what these decode to, uint8.

    Without a test split they are those of validation, else of train.
    """
    opened = functools.partial(open_source, data["source"], fields=("video",), data_dir=data_dir, **data["options"])
    splits = opened("train").splits
    source = opened(next(split for split in ("test", "validation", "train") if split in splits))
    video_BTHWC = source.read(range(min(GOLDEN_CLIPS, len(source))))["video"]
    codes_Bthw = tokenizer.codes(video_BTHWC)
    decoded_BTHWC = np.round(255 * tokenizer.video(codes_Bthw)).astype(np.uint8)
    return {"video": video_BTHWC, "codes": codes_Bthw, "decoded": decoded_BTHWC}


def card(
    name: str, tokenizer: VideoTokenizer, run: Mapping[str, Any], environment: Mapping[str, Any],
    final: Mapping[str, Any],
) -> str:
    """The card in Markdown; the list at its end is left open for the files' sums.

    Args:
      name: of the tokenizer.
      run: the run's config.
      environment: where it was trained (``environment.json``).
      final: its figures (``eval.json``).
    """
    about = final["about"]
    facts = {
        "Config": f"`{run['name']}`, whole in `{CONFIG}` under `run`",
        "Data": f"`{json.dumps({key: run['data'][key] for key in ('source', 'options')}, sort_keys=True)}`",
        "Strides": " x ".join(map(str, tokenizer.strides)) + " (frames, rows, columns per code)",
        "Codes": f"{tokenizer.num_codes}, of the quantizer {tokenizer.config['quantizer']['name']!r}",
        "Parameters": f"{parameter_count(tokenizer.params):,}",
        "Seed": run["seed"],
        "Checkpoint": f"step {about['step']} of {about['total_steps']}, the moving average of the weights",
        "Commit": about["trained_by_commit"],
        "Hardware": f"{environment['devices']} x {environment['device']}, {environment['host_cores']} cores",
        "Minutes": f"{about['seconds'] / 60:.1f} of training and validation up to this step",
        "Tokenizer's hash": f"`{tokenizer.hash}`",
    }
    lines = [
        f"# {name}", "", f"A video tokenizer that a run of `{run['name']}` trained.", "",
        "```python", "from videogvt import VideoTokenizer", f'tokenizer = VideoTokenizer.load("{name}")', "```", "",
        "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items()), "",
    ]
    for split in sorted({key.split("/")[1] for key in final if key.startswith("eval/")} - {"validation"}, reverse=True):
        lines += [f"Figures on `{split}`, from `eval.json`:", "", *_figures(final, split), ""]
    lines += [
        "Limits: the figures hold for clips of the size, pace and look of the data above; on anything else nothing was "
        "measured.", "", "Files:", "",
    ]
    return "\n".join(lines) + "\n"


def _figures(final: Mapping[str, Any], split: str) -> list[str]:
    """A table with a line for each figure and a column for the tokenizer and each answer it is to be seen beside."""
    cells: dict[str, dict[str, str]] = {}
    for key, value in final.items():
        if key.startswith(f"eval/{split}/") and value is not None:
            row, _, figure = key.removeprefix(f"eval/{split}/").rpartition("/")
            if row in ROWS:
                cells.setdefault(figure, {})[row] = f"{value:.4g}"
    rows = [row for row in ROWS if any(row in values for values in cells.values())]
    return [
        "| figure | " + " | ".join(ROWS[row] for row in rows) + " |", "|---" * (len(rows) + 1) + "|",
        *(f"| {name} | " + " | ".join(values.get(row, "") for row in rows) + " |" for name, values in cells.items()),
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m videogvt.pretrained.export", description=__doc__.split("\n")[0])
    parser.add_argument("run", help="directory of a finished run, such as runs/vqvae_traj")
    parser.add_argument("folder", help="to be made, such as videogvt/pretrained/traj64")
    parser.add_argument("--data_dir", help="root of the data sets")
    options = parser.parse_args(arguments)
    try:
        folder = export(options.run, options.folder, options.data_dir)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{folder}: {megabytes:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
