"""Samplers of one trained masked transformer beside each other, on validation: quality, passes and time.

    python benchmarks/samplers.py --workdir=runs/maskgvt_traj [--clips=100] [--best=3] [--best_clips=500]
        [--only=halton,frames] [--judge=runs/classifier_traj-judge] [--batch_size=20] [--output=FILE] [--data_dir=DIR]
    python benchmarks/samplers.py --workdir=runs/maskgvt_traj --set temperature=0.9 --set guidance=0.5,steps=16
    python benchmarks/samplers.py --workdir=runs/maskgvt_traj-multitask --predict --clips=40 --set temperature=0.5

Every sampler decodes with the settings of its source and with others, the run's own sampler first; then the best by one
persistent object times oracle accuracy decode more clips. Nothing is trained, and "empty" is the code that is most
frequent in training clips. ``--workdir`` may be the name of a generator that ships; then name ``--output`` too.
``--judge`` has a classifier name the classes as well. ``--set``, any number of times, changes fields of the run's own
sampler, and only these rows are measured; all after one another with commas make one row. ``--predict`` measures the
tasks that are given a part of clips in the place of generation by class: by each, the error of the object's track.

A row is written to ``samplers.json`` in the run's directory as soon as it is measured, and is not measured again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

from videogvt import VideoGenerator  # noqa: E402
from videogvt.core.trees import tree_hash  # noqa: E402
from videogvt.decode import SAMPLERS, changed  # noqa: E402
from videogvt.evals.generators import evaluators_of  # noqa: E402
from videogvt.evals.tokens import ClipDecoder, compare  # noqa: E402
from videogvt.jobs.experiment import open_without_more_clips  # noqa: E402
from videogvt.jobs.judges import load_judge  # noqa: E402
from videogvt.models.generation import MaskedGeneration  # noqa: E402
from videogvt.pretrained.codes import most_frequent_code  # noqa: E402
from videogvt.report.generation import FIGURES  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.parallel import MeshShape  # noqa: E402
from videogvt.train.state import TrainState  # noqa: E402

FILE = "samplers.json"
SETTINGS: tuple[Mapping[str, Any], ...] = (
    {},  # the run's own
    {"sampler": "confidence"}, {"sampler": "confidence", "steps": 32, "choice_temperature": 0.0, "temperature": 0.7},
    {"sampler": "margin", "steps": 32}, {"sampler": "margin", "steps": 32, "temperature": 0.7},
    {"sampler": "speaking", "steps": 32}, {"sampler": "speaking", "steps": 32, "temperature": 0.7},
    {"sampler": "random", "steps": 32, "temperature": 0.8}, {"sampler": "random", "steps": 32},
    {"sampler": "halton"}, {"sampler": "halton", "randomize": True, "temperature": 0.8},
    {"sampler": "frames"},
    {"sampler": "frames", "cells": "speaking", "steps": 10, "schedule": "exp"},
    {"sampler": "frames", "cells": "speaking", "steps": 10, "schedule": "exp", "rounding": "ceil"},
    {"sampler": "frames", "cells": "speaking", "steps": 10, "schedule": "exp", "rounding": "ceil",
     "speaking_temperature": 0.3},
    {"sampler": "bisection"}, {"sampler": "bisection", "cells": "speaking", "steps": 7},
    {"sampler": "draft_and_revise"},
    {"sampler": "draft_and_revise", "steps": 16, "nucleus": 0.0, "temperature": 0.7},
    {"sampler": "remasking"}, {"sampler": "remasking", "eta": 0.2, "temperature": 1.0},
)
SHOWN = ("one_object_share", "oracle_agreement", "oracle_agreement_min", "judge_agreement", "spread_vs_real",
         "spread_vs_real_min", "hue_distance_deg")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A generator as evaluators see it.

    Attributes:
      generator: a masked transformer with its tokenizer.
      state: its weights, placed.
      empty: the most frequent training code.
      data_dir: root of the data sets.
      batch_size: clips that are made and timed at once.
    """

    generator: VideoGenerator
    state: TrainState
    empty: int
    data_dir: str | None
    batch_size: int

    @classmethod
    def load(cls, source: str, data_dir: str | None, batch_size: int) -> "Subject":
        generator = VideoGenerator.load(source, data_dir=data_dir)
        if not isinstance(generator.generation, MaskedGeneration):
            raise SystemExit(f"{source} draws its codes one after another; expected the run of a masked transformer.")
        state = TrainState.create(params={"transformer": generator.params}, opt={})
        state = state.replace(frozen={"tokenizer": generator.tokenizer.params})
        state = jax.device_put(state, NamedSharding(MeshShape().build(), PartitionSpec()))
        train = open_without_more_clips(generator.config, "train", ("video",), data_dir)
        return cls(generator, state, most_frequent_code(generator.tokenizer, train), data_dir, batch_size)

    def evaluator(self, clips: int, judge: str = ""):
        """Measures so many clips, in equal numbers of each class; a judge's run names their classes too."""
        return self._evaluators("generation", "generates clips of a class alone, such as CG", {}, clips, judge)

    def predictions(self, settings: Mapping[str, Any], clips: int) -> dict[str, float]:
        """What another sampler comes to on the tasks that are given a part of so many clips."""
        evaluator = self._evaluators("prediction", "is given a part of clips, such as FP:8", settings, clips)
        return {name: value for name, value in evaluator.run(self.state) if isinstance(value, float)}

    def _evaluators(self, name: str, what: str, settings: Mapping[str, Any], clips: int, judge: str = ""):
        functions = {"generate": self.decoder(settings).generate, "codes": self._codes, "video": self._video}
        found = evaluators_of(
            functions, self.generator.generation.tasks,
            lambda split, fields: open_without_more_clips(self.generator.config, split, fields, self.data_dir),
            seed=self.generator.config["seed"], weights="ema", batch_size=self.batch_size, split="validation",
            seeds=1 if name == "prediction" else 3, per_class=-(-clips // len(self.generator.class_names)), limit=clips,
            watch=False, judge=load_judge(judge, self.generator.class_names) if judge else None)
        if name not in found:
            raise SystemExit(f"{self.generator} has no task that {what}.")
        return found[name]

    def decoder(self, settings: Mapping[str, Any]) -> ClipDecoder:
        """The generator with another sampler."""
        if settings.get("sampler") == "speaking" or settings.get("cells") == "speaking":
            settings = {**settings, "empty": self.empty}
        generation = self.generator.generation
        generation = dataclasses.replace(generation, decoding=changed(generation.decoding, settings))

        def generate(state, task_B, label_B, video_BTHWC, keys_B):
            weights = state.params["transformer"], state.frozen["tokenizer"]
            return generation(*weights, task_B, label_B, video_BTHWC, keys_B)

        alone = [place for place, shown_THW in enumerate(generation.tasks.visible_nTHW) if not shown_THW.any()]
        task = alone[0] if alone else 0
        return ClipDecoder(name_of(settings), generation.decoding.passes, generate, self.state, task)

    def _codes(self, state, video_BTHWC):
        return self.generator.generation.codes(state.frozen["tokenizer"], video_BTHWC)

    def _video(self, state, codes_Bthw):
        return self.generator.generation.video(state.frozen["tokenizer"], codes_Bthw)


def name_of(settings: Mapping[str, Any]) -> str:
    """"halton, temperature 0.8"."""
    rest = [f"{name} {value}" for name, value in settings.items() if name not in ("sampler", "empty")]
    return ", ".join([settings.get("sampler", "the run's own"), *rest])


def settings_of(text: str) -> dict[str, Any]:
    """"steps=16,guidance=0.5" as fields and values; what is no number, list or truth value is a word."""
    settings = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"found {part!r}; expected name=value, several with commas between them")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


def measured(subject: Subject, wanted: Sequence[Mapping[str, Any]], clips: int, judge: str) -> Iterator[dict[str, Any]]:
    """A row for each of the settings; real clips are measured once."""
    decoders = (subject.decoder(settings) for settings in wanted)
    rows = compare(decoders, subject.evaluator(clips, judge), batches=(subject.batch_size,))
    for settings, row in zip(wanted, rows):
        seconds = row[f"seconds/{subject.batch_size}"]
        yield {"settings": dict(settings), "asked": clips, "ms_a_clip": 1e3 * seconds / subject.batch_size} | row


def predicted(subject: Subject, wanted: Sequence[Mapping[str, Any]], clips: int) -> Iterator[dict[str, Any]]:
    """A row for each of the settings, of predictions."""
    for settings in wanted:
        figures = subject.predictions(settings, clips)
        yield {"settings": dict(settings), "asked": clips, "name": name_of(settings), "predicted": figures}


def table_of_predictions(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines: errors in px by task, those that are less than the best baseline's with a star."""
    tasks = [name.removesuffix("/track_error_px") for name in rows[0]["predicted"]
             if name.count("/") == 1 and name.endswith("/track_error_px")]
    lines = []
    for row in rows:
        found = row["predicted"]
        errors = (f"{found[f'{task}/track_error_px']:.2f}" + "*" * (found[f"{task}/margin_px"] > 0) for task in tasks)
        lines.append([row["name"], *errors, f"{found.get('error_vs_baseline', float('nan')):.2f}"])
    return ["sampler", *tasks, "error over the best baseline's, mean"], lines


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines; one clip of a class has no spread."""
    lines = []
    for row in rows:
        figures = [FIGURES[name][1].format(row[name]) if name in row else "–" for name in SHOWN]
        lines.append([row["name"], f"{row['clips']:,.0f}", f"{row['passes']:,}", f"{row['ms_a_clip']:,.3g}", *figures])
    return ["sampler", "clips", "passes", "ms a clip", *(FIGURES[name][0] for name in SHOWN)], lines


def kept_rows(path: pathlib.Path, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that were measured before, of the same weights."""
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    if found["about"]["parameters"] != about["parameters"]:
        raise SystemExit(f"{path} is of parameters with the hash {found['about']['parameters']}; these have "
                         f"{about['parameters']}. Remove it, or name another --output.")
    return found["rows"]


def write(path: pathlib.Path, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes all rows at once."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    half.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--only", default="", help="samplers, with commas; by default all")
    parser.add_argument("--set", type=settings_of, action="append", help="fields of the run's own sampler")
    parser.add_argument("--judge", default="", help="directory of a classifier's run")
    parser.add_argument("--predict", action="store_true", help="tasks that are given a part of clips, one seed")
    for name, default in (("clips", 100), ("best", 3), ("best_clips", 500), ("batch_size", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    flags = parser.parse_args(arguments)
    path = flags.output or pathlib.Path(flags.workdir) / FILE
    if not path.parent.is_dir():
        parser.error(f"{path.parent} is no directory; name a file with --output.")
    if flags.predict and flags.judge:
        parser.error("--predict measures where the object is, and a judge names classes; leave out one of them.")
    only = set(filter(None, flags.only.split(",")))
    wanted = [dict(settings) for settings in flags.set or SETTINGS if not only or settings.get("sampler") in only]
    if not wanted:
        parser.error(f"found --only={flags.only}, of which no row is; expected some of {', '.join(SAMPLERS)}, and no "
                     "--set without a sampler beside it")
    subject = Subject.load(flags.workdir, flags.data_dir, flags.batch_size)
    about = {"generator": flags.workdir, "parameters": tree_hash(subject.generator.params), "empty": subject.empty,
             "split": "validation", "batch_size": flags.batch_size, "device": jax.devices()[0].device_kind,
             "devices": len(jax.devices()), "jax": jax.__version__}
    rows = kept_rows(path, about)
    of_kind = lambda: [row for row in rows if ("predicted" in row) == flags.predict]  # noqa: E731
    as_table = table_of_predictions if flags.predict else table

    def add(wanted: Sequence[Mapping[str, Any]], clips: int) -> list[dict[str, Any]]:
        done = [(row["settings"], row["asked"]) for row in of_kind()]
        missing = [settings for settings in wanted if (settings, clips) not in done]
        found = (predicted(subject, missing, clips) if flags.predict
                 else measured(subject, missing, clips, flags.judge))
        for row in found:
            rows.append(row)
            write(path, about, rows)
            print(as_text(*as_table(rows[-1:])).splitlines()[-1], flush=True)
        return [row for row in of_kind() if row["settings"] in wanted and row["asked"] == clips]

    first = add(wanted, flags.clips)
    if not flags.predict:
        best = sorted(first, key=lambda row: -row["one_object_share"] * row["oracle_agreement"])[: flags.best]
        add([row["settings"] for row in best], flags.best_clips)
    print(f"\n{as_text(*as_table(of_kind()))}")


if __name__ == "__main__":
    main()
