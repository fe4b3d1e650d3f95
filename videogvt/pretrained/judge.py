"""The judge that was trained here: of the classes of generated clips, and a perceptual network."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from videogvt.nn.classifiers import make_classifier
from videogvt.nn.classifiers.judge import Judge
from videogvt.train import journal
from videogvt.train.checkpoint import load_params

TRAIN_JUDGE = "python run.py --config=configs/classifier_traj.py:judge"
TRAIN_READER = "python run.py --config=configs/classifier_digits.py"


class TrainedJudge(NamedTuple):
    """The judge's network with its weights, and the section ``data`` of its config."""

    model: Judge
    params: Any
    data: dict[str, Any]


def load_trained_judge(
    workdir: epath.PathLike, section: str, class_names: Sequence[str] | None = None, command: str = TRAIN_JUDGE
) -> TrainedJudge:
    """The judge of a finished run.

    Args:
      workdir: of the run.
      section: of the config that names it, for the messages.
      class_names: those that it must name, in the order of its logits; None for any.
      command: that trains one, for the messages.

    Raises:
      FileNotFoundError: there is no finished run.
      ValueError: the run is not a judge's, or names other classes.
    """
    workdir = epath.Path(workdir)
    final = journal.read_eval(workdir)
    if final is None:
        found = "a run that is not finished" if (workdir / "config.json").exists() else "no run"
        raise FileNotFoundError(f"{section} is to be the trained classifier of {workdir}, which holds {found}. "
                                f"Train it first: {command} --workdir={workdir}")
    config = json.loads((workdir / "config.json").read_text())
    found = config["classifier"].get("network") if config["recipe"] == "classifier" else config["recipe"]
    if found != "judge":
        raise ValueError(f"{section} is {workdir}, which holds a {found}; expected a judge, as {command} "
                         "trains it.")
    names = next(facts["class_names"] for facts in final["about"]["evaluators"].values())
    if class_names is not None and list(names) != list(class_names):
        raise ValueError(f"The judge of {workdir} names the classes {', '.join(names)}; those of the clips are "
                         f"{', '.join(class_names) or 'none'}. Train a judge on the same data set: {command}")
    model = make_classifier(config["classifier"], num_classes=len(names))
    return TrainedJudge(model, load_params(workdir)["classifier"], config["data"])
