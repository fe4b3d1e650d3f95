"""The report of a small finished run, of one that goes on, and of one without truth."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from videogvt.evals.rows import choose
from videogvt.report import clips, modelability, page, reconstructions
from videogvt.report.run_report import accuracy_by_class, run_verdict, write_report
from videogvt.report.runs import read_run
from videogvt.train import journal
from videogvt.train.contracts import Media
from videogvt.world.example import example
from videogvt.world.spec import SPECS

SPEC = SPECS["tiny"]
CONFIG = {"name": "vqvae_traj-tiny", "seed": 3, "losses": {"gan": "none"}}
CHOICES = ("first", "best", "median", "worst")


def samples(truth: bool, size: int = 1) -> dict[str, np.ndarray]:
    items = [example(SPEC, "test", index) for index in range(8)]
    video = np.stack([item["video"] for item in items]).repeat(size, axis=2).repeat(size, axis=3)
    noise = np.random.default_rng(0).normal(0, 6, video.shape)
    arrays = {
        "id": np.array([item["id"] for item in items]), "index": np.arange(8),
        "psnr": np.linspace(25, 35, 8), "choice": np.repeat(CHOICES, 2), "original": video,
        "reconstruction": np.clip(video + noise, 0, 255).astype(np.uint8),
    }
    if truth:
        track = np.stack([item["pixel_position"][0] for item in items])
        arrays |= {"track": track + 0.5, "original_track": track, "found": np.ones(track.shape[:2], bool),
                   "track_error_px": np.full(track.shape[:2], 0.7), "correct": np.ones(8, bool),
                   "label": np.arange(8) % 5, "fps": np.full(8, 12.0)}
    return arrays


def write_run(workdir, *, truth: bool = True, finished: bool = True, size: int = 1) -> None:
    journal.claim_workdir(workdir, CONFIG)
    with journal.Journal(workdir, start=0, total=20, show=("loss",)) as book:
        for step in (10, 20):
            book.write(step, {"train/loss": 1 / step, "train/bad": float("nan"), "eval/validation/psnr": 20.0 + step,
                              "eval/validation/background/psnr": 27.0}, step / 2, 4 * step)
    if not finished:
        return
    own = {"psnr": 33.0, "ssim": 0.99, "l1": 0.01, "clips": 8.0, "code_usage": 0.5, "code_perplexity": 120.0}
    if truth:
        own |= {"object_found_share": 1.0, "track_error_px_median": 0.7, "object_mse": 0.01}
    numbers = {f"eval/{split}/{name}": value for split in ("test", "ood") for name, value in own.items()}
    codes = {"speaking_per_clip": 20.0, "tokens_per_clip": 32.0, "codes_used_speaking": 30.0, "usage_speaking": 0.9375,
             "perplexity_speaking": 12.5, "duplicates": 3.0, "noise_changed_speaking": 0.015, "clips": 8.0}
    if truth:
        codes |= {"empty_share": 0.75, "unswapped/object_found_share": 1.0, "one_swapped/object_found_share": 0.96875,
                  "twentieth_swapped/track_error_px_p95": 7.125}
    numbers |= {f"eval/modelability/{name}": value for name, value in codes.items()}
    numbers |= {"eval/test/background/psnr": 27.0, "eval/test/background/clips": 8.0, "eval/validation/psnr": 40.0,
                "eval/validation/background/psnr": 27.0}
    chosen = samples(truth, size)
    table = {name: column for name, column in chosen.items() if name not in ("choice", "original", "reconstruction")}
    journal.keep_media(workdir, 20, {
        "eval/test/samples": Media.arrays(**chosen), "eval/test/table": Media.arrays(**table),
        "eval/test/codes": Media.arrays(counts_K=np.arange(32)), "eval/validation/samples": Media.arrays(**chosen),
    })
    facts = {"clips": 8, "weights": "ema", "split_hash": "0123456789abcdef", "class_names": list(SPEC.families)}
    journal.write_eval(workdir, numbers, {
        "step": 20, "last_step": 20, "total_steps": 20, "seconds": 90.0, "examples": 80, "seed": 3,
        "trained_by_commit": "abc123", "evaluators": {"test": facts, "ood": facts, "validation": facts,
                                                      "modelability": facts | {"split": "test"}},
    })


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    write_run(workdir)
    return write_report(workdir)


def test_page_is_self_contained_and_small(finished):
    html = finished.page.read_text()
    assert finished.page.stat().st_size <= page.MAX_BYTES
    assert not re.search(r'(src|href)="(?!data:)|://|url\(|@import|<script|<link', html.replace("&quot;", ""))


def test_page_says_what_was_found(finished):
    html = finished.page.read_text()
    assert "It beats the baselines and meets 4 of 7 targets" in html
    assert "Missed: median track error at most 0.5 px (0.70 px); one code for at least 99.9 %" in html
    assert "seed 3, commit abc123" in html and "Trained for 1.5 minutes on 80 clips" in html
    assert "Adversarial loss off, perceptual loss off" in html and "split 0123456789ab" in html
    for title in ("Figures: test", "Figures: ood", "Training", "Over the training: validation", "Track errors",
                  "Use of the codes: test", "Clips: test", "Cost and surroundings", "Configuration"):
        assert f"<h2>{title}</h2>" in html
    assert all(f"<h3>{choice} (" in html for choice in CHOICES)
    assert "vqvae_traj-tiny" in html and "Clips: validation" not in html


def test_text_holds_the_verdict_and_the_tables(finished):
    assert "vqvae_traj-tiny: It beats the baselines" in finished.text
    assert "\ntest\n" in finished.text and "\nood\n" in finished.text and "\nvalidation\n" not in finished.text
    assert finished.text.endswith(f"Report: {finished.page}")


def test_whether_the_codes_can_be_modelled_is_said_with_an_explanation_for_each_figure(finished):
    html = finished.page.read_text()
    assert "<h2>Can the codes be modelled? (test)</h2>" in html and "<h2>Figures: modelability</h2>" not in html
    text = finished.text.partition("\nmodelability\n")[2].partition("\n\n")[0].splitlines()
    assert text[0].split("  ")[-4:] == ["codes", "as they are", "one swapped", "5 % swapped"]
    shown = {line.split(":")[0].split("  ")[0].strip(): line.split()[-4:] for line in text[2:]}
    assert shown["speaking codes a clip"] == ["20.0", "–", "–", "–"]
    assert shown["blank cells, which show nothing, that have the empty code"] == ["75.00%", "–", "–", "–"]
    assert shown["their share of all codes"] == ["93.8%", "–", "–", "–"]
    assert shown["duplicates"] == ["3", "–", "–", "–"]
    assert shown["object found"] == ["–", "100.00%", "96.88%", "–"]
    assert shown["track error, 95th percentile px"] == ["–", "–", "–", "7.12"]
    assert all(f"<td>{line.split('  ')[0].strip()}</td>" in html for line in text[2:])
    assert len(shown) == 11


def test_codes_of_a_split_are_judged_with_that_split_alone(tmp_path):
    write_run(tmp_path)
    run = read_run(tmp_path)
    assert modelability.beside(run, "test") == {"modelability": run.grid("modelability")[""]}
    assert modelability.beside(run, "ood") == {}
    facts = {**run.about["evaluators"], "modelability": {"split": "validation"}}
    run = dataclasses.replace(run, about={**run.about, "evaluators": facts})
    assert run_verdict(run).sentence.count("meets 2 of 3 targets") == 1


def test_picture_shows_originals_and_reconstructions(finished):
    picture = Image.open(io.BytesIO(finished.picture.read_bytes()))
    assert picture.format == "PNG" and picture.size[0] > 1000 and picture.size[1] > 1000


def test_a_run_that_goes_on_has_a_report_of_what_there_is(tmp_path):
    write_run(tmp_path, finished=False)
    report = write_report(tmp_path)
    assert report.picture is None and "Not finished: 20 steps so far" in report.text
    html = report.page.read_text()
    assert "<h2>Training</h2>" in html and "Figures" not in html


def test_videos_without_truth_have_no_tracks(tmp_path):
    write_run(tmp_path, truth=False)
    report = write_report(tmp_path)
    html = report.page.read_text()
    assert "Track errors" not in html and "px off" not in html and "meets 2 of 3 targets" in html
    assert report.picture.exists()


def test_clips_without_tracks_are_not_said_to_be_ranked_by_them(tmp_path, finished):
    write_run(tmp_path, truth=False)
    html = write_report(tmp_path).page.read_text()
    assert "Clips are ranked by PSNR." in html and "track error" not in html
    assert "Clips are ranked by their mean track error, then by PSNR." in finished.page.read_text()


def test_a_clip_that_was_chosen_by_several_rules_is_shown_once(tmp_path):
    columns = {"id": np.array([b"a#0", b"a#1", b"a#2"]), "index": np.arange(3), "psnr": np.array([20.0, 30.0, 25.0])}
    chosen = choose(columns, 2)
    rows = np.concatenate(list(chosen.values()))
    samples = {name: column[rows] for name, column in columns.items()}
    samples["choice"] = np.repeat(list(chosen), [len(picked) for picked in chosen.values()])
    shown = reconstructions.distinct(samples, 1)
    assert [(choices, int(samples["index"][row])) for choices, row in shown] == [
        (("best",), 1), (("median",), 2), (("worst", "first"), 0)]
    assert sorted(int(samples["index"][row]) for _, row in reconstructions.distinct(samples, 2)) == [0, 1, 2]


def test_names_of_any_letters_and_length_stay_beside_the_pictures(tmp_path):
    write_run(tmp_path, truth=False)
    plain = write_report(tmp_path).picture.read_bytes()
    path = tmp_path / "media/00000020/eval/test/samples.npz"
    arrays = dict(np.load(path))
    name = "summer $holidays$ \\frac{/" + "été_at_the_lake_" * 8 + "take.mp4#12"
    path.write_bytes(Media.arrays(**arrays | {"id": np.array([name.encode()] * 8)}).data)
    long = write_report(tmp_path).picture.read_bytes()
    pixels = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in (plain, long)]
    changed = np.flatnonzero((pixels[0] != pixels[1]).any(axis=(0, 2)))
    assert len(changed) and changed.max() < clips.LEFT


def test_large_noisy_clips_still_make_a_small_page(tmp_path):
    write_run(tmp_path, truth=False, size=4)  # 128 x 128 pixels
    assert write_report(tmp_path).page.stat().st_size <= page.MAX_BYTES


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        write_report(tmp_path)


def test_numbers_are_sorted_into_rows_and_figures(tmp_path):
    write_run(tmp_path)
    run = read_run(tmp_path)
    assert run.evaluators == ("test", "modelability", "ood", "validation")
    assert run.grid("test")["background"] == {"psnr": 27.0, "clips": 8.0} and run.grid("ood")[""]["psnr"] == 33.0
    assert run.series("train/") == {"loss": ([10, 20], [0.1, 0.05])}
    assert set(run.files["test"]) == {"samples", "table", "codes"}


def test_figures_by_class_by_hand():
    table = {"label": np.array([0, 1, 1]), "psnr": np.array([10.0, 20.0, 30.0]),
             "track_error_px": np.array([[1.0], [2.0], [4.0]])}
    headings, lines = accuracy_by_class(table, ["a", "b", "c"])
    assert headings == ["class", "clips", "PSNR, dB", "track error, median px"]
    assert lines == [["a", "1", "10.00", "1.00"], ["b", "2", "25.00", "3.00"]]


def test_report_of_a_classifier(tmp_path):
    journal.claim_workdir(tmp_path, {"name": "classifier_traj", "classifier": {}, "losses": {}})
    numbers = {"accuracy": 0.9, "loss": 0.3, "clips": 10.0, "by_class/line": 1.0, "by_class/circle": 0.8,
               "chance/accuracy": 0.5}
    table = {"label": np.arange(10) % 2, "correct": np.arange(10) > 0}
    counts_KK = np.array([[5, 0], [1, 4]])
    journal.keep_media(tmp_path, 20, {
        "eval/test/table": Media.arrays(**table),
        "eval/test/confusion": Media.arrays(counts_KK=counts_KK, class_names=np.array(["line", "circle"])),
    })
    facts = {"clips": 10, "weights": "ema", "split_hash": "", "class_names": ["line", "circle"]}
    journal.write_eval(tmp_path, {f"eval/test/{name}": value for name, value in numbers.items()}, {
        "step": 20, "last_step": 20, "total_steps": 20, "seconds": 90.0, "examples": 80, "seed": 3,
        "trained_by_commit": "abc123", "evaluators": {"test": facts},
    })
    report = write_report(tmp_path)
    assert "It names the class of 90.0% of 10 clips of test; chance is 50.0%." in report.text
    assert report.picture is None
    html = report.page.read_text()
    assert "Confusions" in html and "dversarial" not in html


def test_ids_of_earlier_versions_are_read(tmp_path):
    write_run(tmp_path)
    place = next(tmp_path.glob("media/*/eval/test/samples.npz"))
    with np.load(place) as arrays:
        kept = dict(arrays) | {"id": np.array([("é" * 40).encode()[:63]] * 8)}  # cut in a letter
    np.savez_compressed(place, **kept)
    assert "é" * 31 in read_run(tmp_path).files["test"]["samples"]["id"][0]
