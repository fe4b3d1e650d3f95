"""The kinds of training that ``config.recipe`` names, a page each: from a config to a run, read from top to bottom."""

from collections.abc import Callable, Mapping

from etils import epath
from ml_collections import ConfigDict

from videogvt.core.processes import first_alone
from videogvt.jobs import classifier, tokenizer, transformer
from videogvt.jobs.experiment import Experiment, default_workdir
from videogvt.jobs.schema import check_config

JOBS: Mapping[str, Callable[..., Experiment]] = {
    "tokenizer": tokenizer.build, "transformer": transformer.build_masked, "lm": transformer.build_causal,
    "classifier": classifier.build,
}
"""``(config of plain values, workdir, data_dir) -> Experiment`` by name."""


def build(
    config: ConfigDict, workdir: epath.PathLike | None = None, data_dir: epath.PathLike | None = None
) -> Experiment:
    """The experiment that a config describes.

    No ``ConfigDict`` goes further than this.

    Args:
      config: as the files under ``configs/`` make it.
      workdir: of the run; None for ``runs/<name>``.
      data_dir: root of the data sets; None for the environment's.

    Raises:
      ValueError: a key is unknown, or two values do not fit; the message names both and the remedy.
    """
    workdir = epath.Path(workdir or default_workdir(config)).absolute()
    config = config.to_dict()
    if config.get("recipe") == "study":
        raise ValueError(f"{config['name']} is a study, which is many runs, and this mode is for one; modes train, "
                         "plan, eval and report know studies. Name a single run, such as its variant 'judge'.")
    check_config(config)
    with first_alone():  # the data sets, where they are not there yet
        return JOBS[config["recipe"]](config, workdir, data_dir)
