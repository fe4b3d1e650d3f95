"""What ``run.py`` can do.

Every mode takes a config, the run's directory and the root of the data sets, each of the two None for its default;
"generate" takes a ``Request`` as well. Imports stand inside the modes, so that looking at a data set does not load the
training code.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

SLOW = 0.95
"""Of a generator's frames a second: a video that has fewer is told of. GIFs round their times."""

_Mode = Callable[[ConfigDict, str | None, str | None], None]


def configured(argument: str, assignments: Sequence[tuple[str, str]] = ()) -> ConfigDict:
    """The config of a file and variant, with what the command line assigns to its keys; every key was looked at."""
    from videogvt.command import load_config, override
    from videogvt.jobs.schema import check_config

    config = override(load_config(argument), assignments)
    check_config(config.to_dict())
    return config.lock()


def keys(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Lists every key that the config may have, with type, default, value and meaning."""
    del workdir, data_dir
    from videogvt.command import describe_keys

    print("\n".join(describe_keys(config.to_dict())))


def plan(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Dry run: prints parameters, FLOPs and an estimate of the time, and stops."""
    from videogvt.jobs import build
    from videogvt.jobs.experiment import default_workdir
    from videogvt.study import plan_study

    if config.recipe == "study":
        return print(plan_study(config, workdir or default_workdir(config), data_dir))
    print(build(config, workdir, data_dir).summary())


def train(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Trains, or takes up the training where it stopped; evaluates; writes and prints the report."""
    import jax

    from videogvt.jobs import build
    from videogvt.jobs.experiment import default_workdir
    from videogvt.study import run_study

    if config.recipe == "study":
        run_study(config, workdir or default_workdir(config), data_dir)
        return report(config, workdir, data_dir)
    experiment, first = build(config, workdir, data_dir), jax.process_index() == 0
    if first and not experiment.finished:
        print(experiment.summary(), flush=True)
    experiment.fit()
    if first:
        report(config, workdir, data_dir)


def evaluate(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Evaluates the best checkpoint of a run again, and reports; with another config or data into ``evals/``."""
    import jax

    from videogvt.jobs import build
    from videogvt.jobs.experiment import default_workdir
    from videogvt.study import run_study

    if config.recipe == "study":
        run_study(config, workdir or default_workdir(config), data_dir, again=True)
    else:
        experiment = build(config, workdir, data_dir)
        folder = experiment.measured_in().folder
        experiment.evaluate()
        if jax.process_index() == 0:
            _write_report(folder)
            if folder != experiment.workdir:  # whose page names its other evaluations
                _write_report(experiment.workdir, told=False)
        return
    if jax.process_index() == 0:
        report(config, workdir, data_dir)


def _write_report(folder: os.PathLike, told: bool = True) -> None:
    from videogvt.report import run_report

    page = run_report.write_report(folder)
    if told:
        print(page.text)


def report(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Writes a run's HTML page from its files, and prints its table; for a config of ``evals/``, the page there."""
    del data_dir
    from videogvt.jobs.experiment import default_workdir, plain
    from videogvt.jobs.provenance import measurable, reported_folder
    from videogvt.report import study

    workdir = workdir or default_workdir(config)
    if config.recipe == "study":
        return print(study.write_study_report(workdir).text)
    folder, differs = reported_folder(workdir, plain(config.to_dict()))
    _write_report(folder)
    if differs:
        advice = "--mode=eval measures it." if measurable(differs) else "That is another training, without a page here."
        print(f"The page is about the run's own config; the one given here has other values of {', '.join(differs)}. "
              f"{advice}", file=sys.stderr)


def preview(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Builds the config's data set where it is missing, and writes a gallery of it."""
    from videogvt.inputs.sources import open_source
    from videogvt.jobs.experiment import default_workdir
    from videogvt.report.clips import write_clip_gallery
    from videogvt.report.gallery import write_gallery
    from videogvt.world.spec import SPECS

    _check_videos(config, "preview")
    section, folder = config.data, workdir or f"{default_workdir(config)}-preview"
    options = section.options.to_dict()
    source = open_source(section.source, "train", data_dir=data_dir, **options)
    if section.source == "trajectories" and options["config"] in SPECS:
        paths = write_gallery(options["config"], folder)
    else:
        fields = tuple(name for name in ("video", "label", "id", "fps") if name in source.available)
        source = open_source(section.source, "train", fields=fields, data_dir=data_dir, **options)
        paths = write_clip_gallery(source, config.name, folder)
    for path in paths:
        print(path)


def _check_videos(config: ConfigDict, mode: str) -> None:
    if config.data.source == "codes":
        raise ValueError(f"--mode={mode} looks at videos, and config.data has codes alone, the source 'codes'.")


def import_data(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Converts the config's data set into one that is trained on, once: codes, or clips of TFDS (extra `tf`)."""
    del workdir
    from videogvt.inputs.coded import import_codes
    from videogvt.inputs.imports import import_tfds

    if config.data.source == "codes":
        return print(import_codes(config.data.options.codes, config.data.options.get("files"), data_dir))
    print(import_tfds(config.data.source, data_dir=data_dir, **config.data.options))


def tokenize(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Writes the codes of all clips of the config's data set, by the run's tokenizer, as a data set and as text."""
    from videogvt.evals.baselines import spread_over
    from videogvt.jobs.experiment import default_workdir, open_for_evaluation
    from videogvt.jobs.provenance import check_network
    from videogvt.pretrained import VideoTokenizer
    from videogvt.pretrained.codes import fields_to_open, write_codes, write_jsonl
    from videogvt.pretrained.fidelity import poor_reading

    _check_videos(config, "tokenize")
    plain, workdir = config.to_dict(), workdir or default_workdir(config)
    if plain["recipe"] == "tokenizer":
        check_network(workdir, plain, ("tokenizer",))
    tokenizer = VideoTokenizer.load(workdir)
    first = open_for_evaluation(plain, "train", ("video",), data_dir)
    if problem := poor_reading(tokenizer, first.read(spread_over(len(first), 16).tolist())["video"]):
        print(f"Warning: {problem}", file=sys.stderr, flush=True)
    sources = {split: open_for_evaluation(plain, split, fields_to_open(first), data_dir) for split in first.splits}
    folder = write_codes(tokenizer, sources, config.name, data_dir, other=(
        f"To keep both, name these: --config.name={config.name}-{first.split_hash[:6] or 'other'} --workdir={workdir}"
    ))
    for path in (folder, *write_jsonl(folder)):
        print(path)


@dataclasses.dataclass(frozen=True)
class Request:
    """What to generate; the flags of ``run.py``.

    Attributes:
      task: "CG", "FP:8", ...; None for the first that the generator was trained on.
      label: a class by name or number; None for all in turn.
      number: of clips.
      seed: of all that is random.
      video: a file of which a part is given; None for none.
      index: of a clip of the data set that is given instead; None for none.
      split: the data set's split that it is of.
      frames: of each video; more than a clip has are predicted clip by clip. None for one clip.
      given: frames that each further clip is predicted from; None for half a clip.
      sampler: how tokens are chosen, with that sampler's own settings where no others are asked for; see
        ``decode.samplers``. None for the run's own.
      steps, temperature, choice_temperature, guidance: of the decoding; None for the run's own.
      show_steps: also write how the first clip came about.
      output: folder for the files; None for ``generated/<task>-<class>-seed<seed>`` in the run's directory, or in
        ``runs/<name>`` for a generator that ships, or a file of others.
    """

    task: str | None = None
    label: str | None = None
    number: int = 4
    seed: int = 0
    video: str | None = None
    index: int | None = None
    split: str = "test"
    frames: int | None = None
    given: int | None = None
    sampler: str | None = None
    steps: int | None = None
    temperature: float | None = None
    choice_temperature: float | None = None
    guidance: float | None = None
    show_steps: bool = False
    output: str | None = None

    @property
    def decoding(self) -> dict[str, str | float]:
        """The fields of the decoding that are asked for."""
        names = ("sampler", "steps", "temperature", "choice_temperature", "guidance")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def generate(
    config: ConfigDict | None, workdir: str | None, data_dir: str | None, request: Request = Request()
) -> None:
    """Makes videos with a trained transformer, ``bundle.GENERATOR`` where neither config nor workdir is given."""
    import pathlib

    from videogvt.core.mistakes import short_warnings
    from videogvt.jobs.experiment import default_workdir
    from videogvt.jobs.provenance import check_network
    from videogvt.pretrained import VideoGenerator
    from videogvt.pretrained.bundle import GENERATOR
    from videogvt.pretrained.compat import short_name
    from videogvt.pretrained.requests import with_decoding
    from videogvt.report.clips import write_samples

    source = str(workdir or (default_workdir(config) if config is not None else GENERATOR))
    decoding, own = request.decoding, None
    if config is not None:
        own = config.to_dict()
        check_network(source, own)
        decoding = {name: value for name, value in own["decoding"].items() if name != "keep_condition"} | decoding
    generator = VideoGenerator.load(source, data_dir=data_dir)
    if decoding.get("empty") == "most_frequent":  # the run has found out which one it is
        decoding["empty"] = generator.config["decoding"].get("empty", generator.config["losses"].get("empty"))
    task = request.task or generator.tasks[0]
    with short_warnings():
        given = _given(generator, task, request, data_dir, own)
        made = generator.generate(
            task, request.label, request.number, seed=request.seed, video=given, keep_steps=request.show_steps,
            **decoding
        )
    videos = made.videos
    if videos is None and (request.frames is not None or request.show_steps):
        raise ValueError("--frames and --show_steps need videos, and these codes were imported without what decodes "
                         "them; name that as config.tokenizer.run = 'codec:MODULE:OBJECT' when training.")
    if request.frames is not None and request.frames > videos.shape[1]:
        part = request.given or videos.shape[1] // 2
        videos = generator.extend(
            videos, request.frames, given=part, overlap=part // 2, seed=request.seed, **decoding
        )
    classes = [generator.class_names[label] if label >= 0 else "clip" for label in made.labels]
    clips = [f"{_as_file(name)}-{place:03d}" for place, name in enumerate(classes)]
    home = pathlib.Path(source) if pathlib.Path(source).is_dir() else pathlib.Path("runs") / short_name(source)
    about = {"generator": source, "tokenizer": generator.tokenizer.hash, "tasks": list(generator.tasks),
             **dataclasses.asdict(request), "task": task, "classes": classes,
             "decoding": dataclasses.asdict(with_decoding(generator.generation, decoding).decoding)}
    steps = generator.tokenizer.video(made.tokens[0]) if request.show_steps else None
    name = f"{task}-{_as_file(request.label or 'all')}-seed{request.seed}".replace(":", "")
    folder = pathlib.Path(request.output or home / "generated" / name)
    for path in write_samples(folder, videos, clips, about, {"codes": made.codes, "label": made.labels}, steps):
        print(path)


def _as_file(class_name: str) -> str:
    """A class's name in that of a file: names that came with somebody's data may have a folder's sign in them."""
    return class_name.replace("/", "_")


def bench(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Measures speed, memory and compile time of all that the config does, on untrained weights."""
    from videogvt.bench import measure
    from videogvt.jobs import build
    from videogvt.jobs.experiment import default_workdir, plain
    from videogvt.jobs.provenance import differences, read_config
    from videogvt.report.grids import as_text
    from videogvt.train.journal import config_hash

    here, config = plain(config.to_dict()), config.copy_and_resolve_references()
    if "generation" in config.evals:  # nothing is judged here, and the judge need not be there
        with config.unlocked():
            del config.evals["generation"]
    found, workdir = measure.measure(build(config, workdir, data_dir)), workdir or default_workdir(config)
    print("\n".join([*measure.machine_facts(found["about"]), "", as_text(*measure.bench_table(found["rows"]))]))
    found["about"]["config_hash"] = config_hash(here)
    trained = read_config(workdir)
    own = trained is None or "recipe" not in trained or not differences(trained, here)
    print(measure.write(found, workdir, measure.BENCH_FILE if own else f"bench-{config_hash(here)}.json"))


def _given(generator, task: str, request: Request, data_dir: str | None, config=None):
    """The clip that is given, uint8 (T, H, W, 3), or None; of the data of ``config``, or else of the generator's."""
    from videogvt.jobs.experiment import open_for_evaluation

    if request.video is not None and request.index is not None:
        raise ValueError(f"Found --video={request.video} and --index={request.index}; give one of them.")
    if request.video is not None:
        return _given_file(generator, task, request.video)
    if request.index is None:
        return None
    config = config or generator.config
    if config["data"] is None:
        raise ValueError(f"--index={request.index}: this generator does not say which clips it was trained on. Leave "
                         "the flag out, or name the data set by a --config.")
    if request.split != "train":  # how many training clips there are changes no other; they need not be made for one
        options = {key: value for key, value in config["data"]["options"].items() if key != "clips"}
        config = {**config, "data": {**config["data"], "options": options}}
    source = open_for_evaluation(config, request.split, ("video",), data_dir)
    if not 0 <= request.index < len(source):
        raise ValueError(f"--index={request.index}: the split {request.split!r} has clips 0 to {len(source) - 1}.")
    return source.read([request.index])["video"][0]


def _given_file(generator, task: str, path: str):
    """A file's beginning, uint8 (T, H, W, 3), with all the frames that the task looks at."""
    from videogvt.inputs.given import paced_clip
    from videogvt.pretrained.requests import frames_needed, with_task

    needed = frames_needed(with_task(generator.generation, task, generator.config["tasks"]), task)
    if not needed:
        raise ValueError(f"--video={path}: the task {task!r} is given no pixels. Leave the flag out, or name another "
                         f"--task; this generator knows {', '.join(generator.tasks)}.")
    pace = generator.tokenizer.pace
    fps = pace.fps and pace.fps / pace.stride
    clip_THWC, rate = paced_clip(path, *generator.generation.video_shape, fps)
    if len(clip_THWC) < needed:
        at = f" at {rate:.4g} a second" if rate else ""
        raise ValueError(f"{path} is too short: it has {len(clip_THWC)} frame{'s' * (len(clip_THWC) != 1)}{at}, and "
                         f"the task {task!r} needs {needed}. Give a longer video, or a task that is given fewer.")
    if rate and rate < SLOW * fps:
        print(f"Note: {path} has {rate:.3g} frames a second, and the generator was trained on {fps:.3g}; they are "
              "taken one by one, which is right for what --mode=generate wrote.", file=sys.stderr, flush=True)
    return clip_THWC


MODES: dict[str, _Mode] = {
    "train": train, "plan": plan, "eval": evaluate, "report": report, "preview": preview, "import": import_data,
    "tokenize": tokenize, "generate": generate, "bench": bench, "keys": keys,
}


SHARED = ("train", "eval")
"""Modes that the processes of a run on many hosts do together; the others are done by a single process."""


WITHOUT_DEVICES = ("report", "preview", "import", "keys")
"""Modes that compute nothing."""


OF_OTHERS = ("generate", "tokenize")
"""Modes whose workdir may be a file of others' weights."""


def check_workdir(mode: str, workdir: str | None) -> None:
    """An error where a mode is about a run's directory and a file of others is named: a folder of that name would be
    made, and stand for the file from then on."""
    from videogvt.pretrained.compat import foreign

    if workdir is not None and mode not in OF_OTHERS and foreign(workdir):
        raise ValueError(f"--workdir={workdir} is a file of others' weights, and --mode={mode} is about a run's "
                         f"directory. Name the file with --mode={' or --mode='.join(OF_OTHERS)}, or as "
                         "config.tokenizer.run or config.init_from.workdir.")


def alone(config: ConfigDict, workdir: str | None, steal: bool) -> contextlib.AbstractContextManager:
    """The context of a mode that writes into a run's directory: no other process does meanwhile."""
    from videogvt.jobs.experiment import default_workdir
    from videogvt.train.lock import sole_run

    return sole_run(workdir or default_workdir(config), steal)


def describe() -> str:
    """The modes with their first lines, for the command's help."""
    return " ".join(f"{name}: {mode.__doc__}" for name, mode in MODES.items())
