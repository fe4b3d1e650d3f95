"""The evaluators of a generator: which of them it needs follows from the tasks it knows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from videogvt.evals.generation import GenerationEval, unfolding
from videogvt.evals.judge import Judge
from videogvt.evals.motion import TRUTH
from videogvt.evals.prediction import PredictionEval
from videogvt.inputs.sources import ClipSource
from videogvt.tasks import TaskTable
from videogvt.train.contracts import Evaluator, When


def evaluators_of(
    predict_fns: Mapping[str, Callable], table: TaskTable, opened: Callable[[str, Sequence[str]], ClipSource], *,
    seed: int, weights: str, batch_size: int, split: str = "test", per_class: int = 100, limit: int = 500,
    judge: Judge | None = None, settings: Mapping[str, Any] = {}, watch: bool = True, when: When = When(end=True),
) -> dict[str, Evaluator]:
    """"generation", where a task is given the class alone and the data have classes, and "prediction", where a task is
    given pixels and the data know their object.

    Args:
      predict_fns: of the recipe: "generate", "codes" and "video".
      table: of its tasks.
      opened: opens a split of the data with the fields asked for.
      seed, weights, batch_size, judge, settings, when: see ``GenerationEval``.
      split: of the real clips.
      per_class: clips to generate of each class.
      limit: clips to predict for each task.
      watch: whether "generate" takes ``keep_steps``.
    """
    common = {"split": split, "seed": seed, "weights": weights, "batch_size": batch_size, "settings": settings,
              "generate": predict_fns["generate"], "when": when}
    there = opened(split, ("video",)).available

    def part(name, fields):
        return opened(name, tuple(field for field in fields if field in there))

    source = part(split, ("video", "label", "id", "fps"))
    evaluators: dict[str, Evaluator] = {}
    alone = [place for place, shown_THW in enumerate(table.visible_nTHW) if not shown_THW.any()]
    has_tracks = "fps" in source.fields
    if alone and source.class_names and (has_tracks or judge):

        def reconstruct(state, video_BTHWC):
            codes_Bthw = predict_fns["codes"](state, video_BTHWC)
            return predict_fns["video"](state, codes_Bthw), codes_Bthw

        evaluators["generation"] = GenerationEval(
            source=source, train=part("train", ("video", "label", "fps", *TRUTH)), task=alone[0],
            per_class=per_class, judge=judge, reconstruct=reconstruct,
            unfold=unfolding(predict_fns["generate"], predict_fns["video"]) if watch else None, **common)
    if len(alone) < len(table.names) and has_tracks:
        evaluators["prediction"] = PredictionEval(source=source, table=table, limit=limit, **common)
    return evaluators
