"""Which evaluators a generator gets."""

import numpy as np
import pytest

from tests.evals import bank
from tests.evals.test_prediction import table
from videogvt.evals.generators import evaluators_of
from videogvt.inputs.sources import ArraySource

FNS = {"generate": bank.real, "codes": lambda state, video: np.zeros(len(video), int),
       "video": lambda state, codes: codes}


def opened(without=()):
    fields = [name for name in bank.clips("test", 100) if name not in without]

    def open_part(split, names):
        assert set(names) <= set(fields)
        count = 60 if split == "validation" else 100
        source = ArraySource({name: bank.clips(split, count)[name] for name in names}, bank.FAMILIES)
        source.available = tuple(fields)
        return source

    return open_part


def names(tasks, **options) -> set[str]:
    without = options.pop("without", ())
    return set(evaluators_of(FNS, table(tasks), opened(without), seed=0, weights="ema", batch_size=8, **options))


def test_evaluators_follow_from_the_tasks():
    assert names(("CG",)) == {"generation"}
    assert names(("FP:3", "OPC")) == {"prediction"}
    assert names(("FP:3", "CG")) == {"generation", "prediction"}


def test_clips_without_an_object_need_a_judge():
    plain = ("fps", "pixel_position", "radius_px")
    assert names(("FP:3", "CG"), without=plain) == set()
    assert names(("FP:3", "CG"), without=plain, judge=bank.judge()) == {"generation"}


def test_generation_asks_for_its_own_task():
    made = evaluators_of(FNS, table(("FP:3", "CG")), opened(), seed=0, weights="ema", batch_size=8, per_class=3,
                         limit=7, settings={"steps": 2})
    assert made["generation"].task == 1 and made["generation"].clips == 15 and made["prediction"].clips == 7
    assert made["generation"].facts["decoding"] == {"steps": 2} and made["generation"].reconstruct is not None
    assert made["prediction"].tasks == ("FP:3",)


def test_a_generator_that_cannot_be_watched():
    made = evaluators_of(FNS, table(("CG",)), opened(), seed=0, weights="ema", batch_size=8, watch=False)
    assert made["generation"].trajectory is None
    with pytest.raises(KeyError):
        evaluators_of({}, table(("CG",)), opened(), seed=0, weights="ema", batch_size=8)


def test_choosing_shares_neither_clips_nor_seeds_with_reporting():
    def made(**options):
        return evaluators_of(FNS, table(("FP:3", "CG")), opened(), seed=3, weights="ema", batch_size=8, **options)

    control = lambda: bank.white  # noqa: E731
    reported, chosen = made(), made(split="validation", seeds=2, independent=control)
    for evaluator in reported.values():
        assert evaluator.split == "test" and evaluator.seeds == (3, 4, 5)
    for evaluator in chosen.values():
        assert evaluator.split == "validation" and not set(evaluator.seeds) & set(reported["generation"].seeds)
        assert len(evaluator.seeds) == 2
    assert chosen["generation"].independent is control and reported["generation"].independent is None
    with pytest.raises(ValueError, match="seeds is 0; expected at least 1"):
        made(seeds=0)
