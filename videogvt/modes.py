"""What ``run.py`` can do.

Every mode takes a config, the run's directory and the root of the data sets, each of the two None for its default.
Imports stand inside the modes, so that looking at a data set does not load the training code.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

Mode = Callable[[ConfigDict, str | None, str | None], None]


def plan(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Prints what a run will cost, and stops."""
    from videogvt.experiment import build

    print(build(config, workdir, data_dir).summary())


def train(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Trains, or takes up the training where it stopped; evaluates; writes and prints the report."""
    from videogvt.experiment import build

    experiment = build(config, workdir, data_dir)
    if not experiment.finished:
        print(experiment.summary(), flush=True)
    experiment.fit()
    report(config, workdir, data_dir)


def evaluate(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Evaluates the best checkpoint of a run again, and reports."""
    from videogvt.experiment import build

    build(config, workdir, data_dir).evaluate()
    report(config, workdir, data_dir)


def report(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Writes a run's HTML page from its files, and prints its table."""
    del data_dir
    from videogvt.experiment import default_workdir
    from videogvt.report.run_report import write_report

    page = write_report(workdir or default_workdir(config))
    print(page.text)


def preview(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Builds the config's data set where it is missing, and writes a gallery of it."""
    from videogvt.experiment import default_workdir
    from videogvt.inputs.sources import open_source
    from videogvt.report.clips import write_clip_gallery
    from videogvt.report.gallery import write_gallery
    from videogvt.world.spec import SPECS

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


def import_tfds(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Converts the config's data set of TFDS into clips, once; needs the extra `tf`."""
    del workdir
    from videogvt.inputs.imports import import_tfds

    print(import_tfds(config.data.source, data_dir=data_dir, **config.data.options))


def tokenize(config: ConfigDict, workdir: str | None, data_dir: str | None) -> None:
    """Writes the codes of all clips of the config's data set, by the run's tokenizer, as a data set and as text."""
    from videogvt.experiment import default_workdir, open_for_evaluation
    from videogvt.pretrained import VideoTokenizer
    from videogvt.pretrained.codes import fields_to_open, write_codes, write_jsonl

    tokenizer = VideoTokenizer.load(workdir or default_workdir(config))
    plain = config.to_dict()
    first = open_for_evaluation(plain, "train", ("video",), data_dir)
    sources = {split: open_for_evaluation(plain, split, fields_to_open(first), data_dir) for split in first.splits}
    folder = write_codes(tokenizer, sources, config.name, data_dir)
    for path in (folder, *write_jsonl(folder)):
        print(path)


MODES: dict[str, Mode] = {
    "train": train, "plan": plan, "eval": evaluate, "report": report, "preview": preview, "import": import_tfds,
    "tokenize": tokenize,
}


def describe() -> str:
    """The modes with their first lines, for the command's help."""
    return " ".join(f"{name}: {mode.__doc__}" for name, mode in MODES.items())
