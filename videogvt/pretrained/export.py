"""From a finished run to a bundle that can be shipped, with a card that says where it comes from.

    python -m videogvt.pretrained.export RUN FOLDER [--data_dir DIR]

FOLDER's name becomes the tokenizer's, or the generator's. Below ``videogvt/pretrained/`` it ships with the package;
anywhere else ``VideoTokenizer.load(FOLDER)``, or ``VideoGenerator.load(FOLDER)``, finds it. With a tokenizer go two
clips of the run's data and their codes, with a generator a clip of every class that it made. A generator is kept in
half precision, and its tokenizer must be one that ships.
"""

import argparse
import functools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from videogvt.core.trees import parameter_count, tree_hash
from videogvt.inputs.sources import open_source
from videogvt.ops.video import as_bytes
from videogvt.pretrained.bundle import CONFIG, shipped, write_bundle
from videogvt.pretrained.generator import GENERATIONS, VideoGenerator
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.train import journal

GOLDEN_CLIPS = 2
TOKENIZER_ROWS = {"": "tokenizer", "background": "all background", "untrained": "untrained", "original": "originals"}
GENERATOR_ROWS = {"": "generator", "real": "real clips", "reconstructed": "real clips through the tokenizer"}


class Parts(NamedTuple):
    """What is written of a run.

    Attributes:
      config: what ``config.json`` says besides name and run.
      params: the parameters.
      golden: what an installation can be checked by.
      what: it is, in a few words.
      example: of loading it.
      facts: lines of the card.
      rows: of the figures, with their headings.
    """

    config: dict[str, Any]
    params: Mapping[str, Any]
    golden: Mapping[str, np.ndarray]
    what: str
    example: str
    facts: dict[str, Any]
    rows: Mapping[str, str]


def export(workdir: os.PathLike, folder: os.PathLike, data_dir: os.PathLike | None = None) -> pathlib.Path:
    """Writes the best checkpoint of a finished run as a bundle; the folder is there whole or not at all.

    Args:
      workdir: directory of the run, of a tokenizer or of a transformer.
      folder: to be made; one that exists is not touched.
      data_dir: root of the data sets.

    Raises:
      FileNotFoundError: the run is not finished.
      FileExistsError: ``folder`` exists.
      ValueError: it is a transformer's, whose tokenizer does not ship.
    """
    workdir, folder = pathlib.Path(workdir), pathlib.Path(folder).absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it, or choose another name.")
    final = journal.read_eval(workdir)
    if final is None:
        raise FileNotFoundError(f"{workdir} holds no finished run: eval.json is missing. Train it to the end first.")
    run = json.loads((workdir / CONFIG).read_text())
    environment = json.loads((workdir / "environment.json").read_text())
    gather = generator_parts if "recipe" in run and run["recipe"] in GENERATIONS else _tokenizer_parts
    parts = gather(workdir, final["about"]["step"], run, data_dir)
    unfinished = folder.with_name(f"incomplete.{os.getpid()}_{folder.name}")
    unfinished.mkdir(parents=True)
    try:
        config = {"name": folder.name, **parts.config, "run": run}
        write_bundle(unfinished, config, parts.params, parts.golden, card(folder.name, parts, run, environment, final))
        unfinished.rename(folder)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
    return folder


def _tokenizer_parts(workdir: pathlib.Path, step: int, run: Mapping[str, Any], data_dir: os.PathLike | None) -> Parts:
    """Of a tokenizer's run."""
    tokenizer = VideoTokenizer.load(workdir, step=step)
    facts = {
        "Strides": f"{' x '.join(map(str, tokenizer.strides))} (frames, rows, columns per code)",
        "Codes": f"{tokenizer.num_codes}, of the quantizer {tokenizer.config['quantizer']['name']!r}",
        "Parameters": f"{parameter_count(tokenizer.params):,}",
        "Weights": "the moving average",
        "Tokenizer's hash": f"`{tokenizer.hash}`",
    }
    return Parts(
        {"tokenizer": tokenizer.config, "hash": tokenizer.hash}, tokenizer.params,
        golden_clips(tokenizer, run["data"], data_dir), "A video tokenizer",
        'from videogvt import VideoTokenizer\ntokenizer = VideoTokenizer.load("{name}")', facts, TOKENIZER_ROWS,
    )


def generator_parts(workdir: pathlib.Path, step: int, run: Mapping[str, Any], data_dir: os.PathLike | None) -> Parts:
    """Of a transformer's run."""
    generator = VideoGenerator.load(workdir, step=step, data_dir=data_dir)
    hashes = {name: VideoTokenizer.load(name).hash for name in shipped()}
    name = next((name for name, digest in hashes.items() if digest == generator.tokenizer.hash), None)
    if name is None:
        raise ValueError(
            f"{workdir} was trained on the tokenizer {generator.tokenizer.hash}; those that ship are {hashes}. Export "
            "the tokenizer below videogvt/pretrained/ first."
        )
    about = {
        "tokenizer": name, "tokenizer_params": tree_hash(generator.tokenizer.params),
        "video_shape": list(generator.generation.video_shape), "class_names": list(generator.class_names),
    }
    halves = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), generator.params)
    generator.params = jax.device_put(jax.tree.map(np.float32, halves))  # golden clips are those that it will make
    golden = {}
    if "CG" in generator.tasks:
        made = generator.generate("CG", number=max(len(generator.class_names), 1))
        golden = {"codes": made.codes, "label": made.labels, "video": as_bytes(made.videos)}
    facts = {
        "Tasks": ", ".join(generator.tasks), "Classes": ", ".join(generator.class_names),
        "Tokenizer": f"`{name}`, {generator.generation.num_tokens} codes a clip",
        "Parameters": f"{parameter_count(generator.params):,}, kept in half precision",
        "Decoding": f"`{json.dumps(run['decoding'], sort_keys=True)}`",
    }
    return Parts(
        {"generator": about}, halves, golden, "A video generator",
        'from videogvt import VideoGenerator\ngenerator = VideoGenerator.load("{name}")\n'
        f'made = generator.generate("{generator.tasks[0]}", number=4)', facts, GENERATOR_ROWS,
    )


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
    decoded_BTHWC = as_bytes(tokenizer.video(codes_Bthw))
    return {"video": video_BTHWC, "codes": codes_Bthw, "decoded": decoded_BTHWC}


def card(
    name: str, parts: Parts, run: Mapping[str, Any], environment: Mapping[str, Any], final: Mapping[str, Any]
) -> str:
    """The card in Markdown; the list at its end is left open for the files' sums.

    Args:
      name: of the bundle.
      parts: what is written.
      run: the run's config.
      environment: where it was trained (``environment.json``).
      final: its figures (``eval.json``).
    """
    about = final["about"]
    facts = {
        "Config": f"`{run['name']}`, whole in `{CONFIG}` under `run`",
        "Data": f"`{json.dumps({key: run['data'][key] for key in ('source', 'options')}, sort_keys=True)}`",
        **parts.facts,
        "Seed": run["seed"],
        "Checkpoint": f"step {about['step']} of {about['total_steps']}",
        "Commit": about["trained_by_commit"],
        "Hardware": f"{environment['devices']} x {environment['device']}, {environment['host_cores']} cores"
        + (f" ({environment['processor']})" if environment.get("processor") else ""),
        "Minutes": f"{about['seconds'] / 60:.1f} of training and validation up to this step",
    }
    lines = [
        f"# {name}", "", f"{parts.what} that a run of `{run['name']}` trained.", "",
        "```python", *parts.example.format(name=name).split("\n"), "```", "",
        "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items()), "",
    ]
    for split in sorted({key.split("/")[1] for key in final if key.startswith("eval/")} - {"validation"}, reverse=True):
        lines += [f"Figures on `{split}`, from `eval.json`:", "", *_figures(final, split, parts.rows), ""]
    lines += [
        "Limits: the figures hold for clips of the size, pace and look of the data above; on anything else nothing was "
        "measured.", "", "Files:", "",
    ]
    return "\n".join(lines) + "\n"


def _figures(final: Mapping[str, Any], split: str, headings: Mapping[str, str]) -> list[str]:
    """A table with a line for each figure and a column for what was trained and each answer it is to be seen beside."""
    cells: dict[str, dict[str, str]] = {}
    for key, value in final.items():
        if key.startswith(f"eval/{split}/") and value is not None:
            row, _, figure = key.removeprefix(f"eval/{split}/").rpartition("/")
            if row in headings:
                cells.setdefault(figure, {})[row] = f"{value:.4g}"
    rows = [row for row in headings if any(row in values for values in cells.values())]
    return [
        "| figure | " + " | ".join(headings[row] for row in rows) + " |", "|---" * (len(rows) + 1) + "|",
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
