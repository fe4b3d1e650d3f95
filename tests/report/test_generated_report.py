"""The report of a run that generates and predicts, from what the evaluators really leave behind."""

import json

import numpy as np
import pytest

from tests.evals import bank
from tests.evals.test_prediction import make_eval as make_prediction
from tests.evals.test_prediction import truth
from videogvt.evals.generation import GenerationEval
from videogvt.report import decoding, generation, page, prediction
from videogvt.report.run_report import write_report
from videogvt.report.runs import read_run
from videogvt.train import journal
from videogvt.train.contracts import Media, When

ROWS = [{"name": f"{steps} steps", "passes": steps, "oracle_agreement": 1 - 1 / (steps + 1), "clips": 50.0,
         "seconds/1": 0.1 * steps, "gflop/1": steps, "seconds/8": 0.7 * steps, "gflop/8": 8.0 * steps}
        for steps in (1, 4, 12)]
ROWS.append({"name": "autoregressive", "passes": 32, "oracle_agreement": 0.8, "clips": 50.0, "seconds/1": 0.3,
             "gflop/1": 2.0})


def decode_in_steps(state, task_B, label_B, video_BTHWC, keys_B):
    video = bank.real(state, task_B, label_B, video_BTHWC, keys_B)["video"]
    steps = np.array([1.0, 0.5, 0.0])
    masked = np.broadcast_to((steps > 0)[None, :, None, None, None], (len(label_B), 3, 2, 4, 4))
    return {"videos": np.float32(1) - (1 - video[:, None]) * (1 - steps[None, :, None, None, None, None]),
            "masked": masked, "attention": np.full((len(label_B), 2, 3, 3, 3), 1 / 3, np.float32)}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir, state = tmp_path_factory.mktemp("run"), bank.make_state()
    clips = GenerationEval(
        source=bank.source("test", 100), train=bank.source("train", 100), split="test", seed=0, weights="ema",
        generate=bank.real, when=When(end=True), batch_size=16, per_class=6, samples=2, judge=bank.judge(),
        trajectory=decode_in_steps, settings={"steps": 3, "temperature": 1.0})
    numbers, media, facts = {}, {}, {}
    for name, evaluator in (("generation", clips), ("prediction", make_prediction(truth, samples=2))):
        facts[name] = evaluator.facts
        for key, value in evaluator.run(state):
            (media if isinstance(value, Media) else numbers)[f"eval/{name}/{key}"] = value
    journal.claim_workdir(workdir, {"name": "maskgvt_traj", "seed": 0})
    journal.keep_media(workdir, 20, media)
    journal.write_eval(workdir, numbers, {
        "step": 20, "last_step": 20, "total_steps": 20, "seconds": 90.0, "examples": 80, "seed": 0,
        "trained_by_commit": "abc123", "evaluators": facts,
    })
    (workdir / decoding.DECODING_FILE).write_text(json.dumps({"rows": ROWS, "costs": [], "about": {"device": "cpu"}}))
    return workdir


@pytest.fixture(scope="module")
def report(workdir):
    return write_report(workdir)


def test_page_shows_everything(report):
    html = report.page.read_text()
    for title in ("Generated clips: generation (test)", "Samples: generation", "Decoding, step by step: generation",
                  "Attention: generation",
                  "Predictions: prediction (20 clips of test)", "Predicted clips: prediction",
                  "Decoding: steps against quality"):
        assert f"<h2>{title}</h2>" in html, title
    assert "Decoding: steps 3, temperature 1.0." in html and "the oracle says" in html and "helical: 3 steps" in html
    assert f"above, {bank.FAMILIES[0]}, half way" in html and "attention from time to time" in html
    assert "What the oracle names (across)" in html and "What the judge names (across)" in html
    assert report.page.stat().st_size <= page.MAX_BYTES and report.picture is None


def test_verdict_is_the_first_thing_said(report):
    assert "maskgvt_traj: It generates" in report.text
    assert "100.0% of 30 clips show exactly one persistent object" in report.text and "by chance" in report.text
    assert "It beats the baseline in 5 of 5 tasks." in report.text
    assert "real clips" in report.text and "constant velocity, px" in report.text


def test_tables_hold_every_row(workdir):
    run = read_run(workdir)
    headings, lines = generation.table(run.grid("generation"))
    assert headings[1:] == ["generated", "real clips", "real, labels shuffled", "training clips", "mean track"]
    assert {line[0] for line in lines} >= {"exactly one object persists", "spread, against real", "clips"}
    headings, lines = generation.class_table(run.grid("generation"))
    assert [line[0] for line in lines] == sorted(bank.FAMILIES)
    headings, lines = prediction.table(run.grid("prediction"))
    assert [line[0] for line in lines] == ["CFP:3", "FI", "FP:3", "IPC", "OPC"] and lines[0][1] == "0.00"
    assert "FP:3, circular" in {line[0] for line in prediction.late_table(run.grid("prediction"))[1]}
    headings, lines = prediction.horizon_table(run.files["prediction"]["horizons"])
    assert headings == ["task and class", "1 frame, px", "2 frames, px", "4 frames, px"]
    assert {line[0].partition(",")[0] for line in lines} == {"FP:3", "CFP:3"} and len(lines) == 12
    assert lines[0][1].startswith("0.00 / ") and lines[0][1].count(" / ") == 3


def grid(**own: float) -> dict[str, dict[str, float]]:
    figures = {"one_object_share": 0.95, "oracle_agreement": 0.7, "oracle_agreement_min": 0.5, "clips": 500.0,
               "spread_vs_real": 0.9, "memory_vs_real": 1.0}
    return {"": figures | own, "shuffled": {"oracle_agreement": 0.2}, "real": {"oracle_agreement": 0.98}}


def test_verdict_by_rule():
    good = generation.generation_verdict(grid())
    assert good.good and len(good.targets) == 5
    assert good.sentence.startswith("It generates what it is asked for: 95.0% of")
    assert good.sentence.endswith("All 5 targets are met.")
    short = generation.generation_verdict(grid(one_object_share=0.75))
    assert not short.good and "Missed: exactly one persistent object in at least 80% of clips (75.0%)" in short.sentence
    for missed in ({"memory_vs_real": 0.5}, {"spread_vs_real": 0.6}, {"oracle_agreement_min": 0.3}):
        verdict = generation.generation_verdict(grid(**missed))
        assert not verdict.good and sum(not met for _, _, met in verdict.targets) == 1
    poor = generation.generation_verdict(grid(oracle_agreement=0.2))
    assert "no more of the class asked for than chance" in poor.sentence


def test_marks_against_codes_drawn_independently_and_reconstructed_clips():
    table = grid(hue_drift_deg=6.0, radius_drift=0.05)
    table["independent"] = {"one_object_share": 0.4, "oracle_agreement": 0.3}
    table["reconstructed"] = {"oracle_agreement": 0.9, "hue_drift_deg": 4.0, "radius_drift": 0.03}
    good = generation.generation_verdict(table)
    assert good.good and len(good.targets) == 9
    for row, figure, value in (("independent", "one_object_share", 0.5), ("independent", "oracle_agreement", 0.36),
                               ("reconstructed", "hue_drift_deg", 2.9), ("reconstructed", "radius_drift", 0.02)):
        worse = {name: dict(numbers) for name, numbers in table.items()}
        worse[row][figure] = value
        assert sum(not met for _, _, met in generation.generation_verdict(worse).targets) == 1, figure
    table["reconstructed"]["hue_drift_deg"] = table[""]["hue_drift_deg"] = 180.0  # grey balls keep no hue
    missed = [text for text, _, met in generation.generation_verdict(table).targets if not met]
    assert missed[0].startswith("hue within a clip")
    table[""]["one_object_share"] = table["independent"]["one_object_share"] = 0.0  # no more than nothing
    missed = [text for text, _, met in generation.generation_verdict(table).targets if not met]
    assert sum("persistent object" in text for text in missed) == 2


SCORES = {"fvd": 159.04, "fvd_std": 2.0, "fvd_clips": 100.0, "inception_score": 83.55, "inception_score_std": 0.14,
          "inception_score_clips": 100.0}


def test_published_figures_stand_beside_those_of_real_clips():
    real = {"fvd": 12.5, "fvd_std": 0.5, "fvd_clips": 50.0, "inception_score": 97.0, "inception_score_std": 0.1}
    said = "FVD 159 ± 2 (12.5 ± 0.5 of real clips). Inception Score 83.55 ± 0.14 (97 ± 0.1 of real clips)."
    with_rule = grid(**SCORES)
    with_rule["real"] |= real
    judged = generation.generation_verdict(with_rule)
    assert judged.good and judged.sentence.endswith(f"All 5 targets are met. {said}")
    alone = {"": SCORES, "real": real}
    assert generation.applies(alone) and generation.generation_verdict(alone).sentence == said
    headings, lines = generation.table(alone)
    assert headings == ["", "generated", "real clips"]
    assert lines[0] == ["FVD (real clips: the control)", "159.0", "12.5"] and lines[2][1:] == ["100", "50"]


def test_a_run_with_published_figures_alone_has_a_report(tmp_path):
    numbers = {f"eval/generation/{row}{name}": value for row in ("", "real/") for name, value in SCORES.items()}
    facts = {"split": "test", "decoding": {}, "published": {
        "i3d": {"network": "I3D, Kinetics-400", "sha256": "ab" * 32}, "fold_clips": 100, "folds": 2,
        "real": "training split"}}
    journal.claim_workdir(tmp_path, {"name": "maskgvt_ucf101", "seed": 0})
    journal.write_eval(tmp_path, numbers, {
        "step": 20, "last_step": 20, "total_steps": 20, "seconds": 90.0, "examples": 80, "seed": 0,
        "trained_by_commit": "abc123", "evaluators": {"generation": facts}})
    html = write_report(tmp_path).page.read_text()
    assert "FVD by I3D, Kinetics-400, sha256 abababababab. 2 folds of 100 clips" in html
    assert "of other numbers they do not compare" in html and "FVD 159 ± 2" in html


def test_predictions_that_lose_are_named():
    lost = {"": {"tasks_beating_baselines": 1.0, "tasks": 2.0}, "FP": {"error_vs_baseline": 0.5, "frames": 3.0},
            "OPC": {"error_vs_baseline": 1.5, "frames": 3.0}}
    assert prediction.sentence(lost) == "It beats the baseline in 1 of 2 tasks; not in OPC."


def test_decoding_table_by_hand():
    headings, lines = decoding.decoding_table(ROWS)
    assert headings == ["decoding", "passes in sequence", "class named by the oracle", "clips", "seconds, batch 1",
                        "GFLOP, batch 1", "seconds, batch 8", "GFLOP, batch 8"]
    assert lines[0] == ["1 steps", "1", "50.0%", "50", "0.1", "1", "0.7", "8"]
    assert lines[-1] == ["autoregressive", "32", "80.0%", "50", "0.3", "2", "–", "–"]
