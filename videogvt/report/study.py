"""The report of a study, from the files in its directory alone: verdict, defects, one table, and what is behind it."""

import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from videogvt.core.registry import stored_config
from videogvt.ops.quality import calibration, coverage
from videogvt.report import page, study_figures
from videogvt.report.grids import as_text
from videogvt.report.images import animation, as_png
from videogvt.report.run_report import Report
from videogvt.report.runs import Arrays, read_texts
from videogvt.train import journal

Numbers = Mapping[str, Any]
_ENSEMBLE = "ensemble"  # the method of all methods' mean probabilities
_ROBUSTNESS, _SAMPLES = ("robustness.json", "stress.json"), "media/samples.npz"  # files of a study, and an earlier name


class _Run(NamedTuple):
    """A finished training of a row: its number of labels, and what it answered on the test split."""

    row: str
    labels: int
    test: Arrays


def read_runs(workdir: pathlib.Path, about: Mapping[str, Any]) -> list[_Run]:
    """The rows' own that the study's ``eval.json`` is made of; no controls."""
    table = "members/{name}/media/{step:08d}/eval/test/table.npz"
    return [_Run(one["row"], one["labels"], read_texts(workdir / table.format(**one))) for one in about["members"]
            if one["control"] is None]


def write_study_report(workdir: pathlib.Path | str) -> Report:
    """Writes ``report.html`` into a study's directory.

    Raises:
      FileNotFoundError: there is no study, or nothing of it is finished.
    """
    workdir = pathlib.Path(workdir)
    found = journal.read_eval(workdir)
    if found is None:
        raise FileNotFoundError(f"{workdir} holds no study with an eval.json; train it first.")
    config = ConfigDict(stored_config(workdir / "config.json"))
    about = found.pop("about")
    path = page.write_page(workdir / "report.html", study_page(workdir, config, found, about))
    tables = [f"{split}\n{as_text(*study_table(found, about, split))}"
              for split in about["splits"] if _has(found, split)]
    words = [" ".join(about["verdict"]), *(f"DEFECT: {defect['words']}" for defect in about["defects"])]
    return Report(path, None, "\n\n".join([f"{config.name}: {words[0]}", *words[1:], *tables, f"Report: {path}"]))


def study_page(workdir: pathlib.Path, config: ConfigDict, numbers: Numbers, about: Mapping[str, Any]) -> str:
    """The whole page."""
    done = read_runs(workdir, about)
    kind = "verdict short" if about["defects"] else "verdict"
    blocks = [page.paragraph(" ".join(about["verdict"]), kind), page.paragraph(_protocol(config, about), "note")]
    if about["defects"]:
        blocks.append(page.section("Defects", *(page.paragraph(defect["words"]) for defect in about["defects"])))
    for split in about["splits"]:
        if _has(numbers, split):
            rows = page.html_table(*study_table(numbers, about, split), strong=2)
            blocks.append(page.section(f"Methods: {split}", rows))
    blocks += [*_targets(about), *_controls(numbers, about), *_efficiency(numbers, about), *_confidence(done),
               *_confusions(done, about["class_names"]), *_robustness(workdir, about), *_clips(workdir), *_rates(about)]
    rows = [[one["name"], _count(one["parameters"]), f"{one['step']:,}",
             f"{one['seconds']:,.0f}", f"{one['examples']:,}"] for one in about["members"]]
    headings = ["training", "parameters", "chosen step", "seconds", "clips seen"]
    blocks.append(page.section("Trainings", page.html_table(headings, rows)))
    blocks.append(page.section("Configuration", page.code(json.dumps(config.to_dict(), indent=2))))
    return page.document(f"{config.name}: report", *blocks)


def study_table(numbers: Numbers, about: Mapping[str, Any], split: str) -> tuple[list[str], list[list[str]]]:
    """Headings and lines: a line for every row and number of labels, the broken ones marked."""
    shown = {
        "accuracy": ("accuracy", "{:.1%}"), "span": ("95 % interval", ""),
        "beside": (f"beside {about['subject']}", "{}"), "seeds": ("seeds", "{:.0f}"),
        "calibration_error": ("calibration error", "{:.3f}"), "position_error": ("position off by", "{:.3g}"),
        "position_error_share": ("of the distance", "{:.1%}"), "radius_error": ("radius off by", "{:.3g}"),
        "chance/position_error": ("mean position off by", "{:.3g}"),
        "copied/position_error": ("last position off by", "{:.3g}"),
        "continued/position_error": ("last velocity off by", "{:.3g}"),
        "continued/position_error_share": ("of the distance", "{:.1%}"),
        "tokenizer/position_error": ("tokenizer's own error", "{:.3g}"), "tokenizer/found": ("found", "{:.1%}"),
        "beyond_tokenizer/position_error": ("beyond it", "{:+.3g}"),
    }
    groups = [(group["row"], group["labels"]) for group in about["groups"] if group["control"] is None]
    groups += [(_ENSEMBLE, labels) for labels in dict.fromkeys(labels for _, labels in groups)]
    lines, used = [], [name for name in shown if any(
        f"{split}/{row}/{labels}/{'accuracy' if name in ('span', 'beside') else name}" in numbers
        for row, labels in groups)]
    broken = {defect["row"] for defect in about["defects"]}
    for row, labels in groups:
        figures = {name: numbers.get(f"{split}/{row}/{labels}/{name}") for name in (*shown, "accuracy_low",
                                                                                   "accuracy_high")}
        if any(value is not None for value in figures.values()):
            figures["beside"] = _beside(numbers, about, split, row, labels)
            cells = [_span(figures) if name == "span" else "–" if figures[name] is None
                     else shown[name][1].format(figures[name]) + _unit(about, row, name) for name in used]
            lines.append([f"{row} (DEFECT)" if row in broken else row, f"{labels:,}", *cells])
    return ["method", "labels", *(shown[name][0] for name in used)], lines


def _has(numbers: Numbers, split: str) -> bool:
    return any(name.startswith(f"{split}/") for name in numbers)


def _beside(numbers: Numbers, about: Mapping[str, Any], split: str, row: str, labels: int) -> str | None:
    """Whether a row's interval lies above the subject's, below it or neither; a row without labels beside its best."""
    if row == about["subject"]:
        return None
    counts = [group["labels"] for group in about["groups"] if group["row"] == about["subject"]]
    spans = [tuple(numbers.get(f"{split}/{name}/accuracy_{end}") for end in ("low", "high"))
             for name in (f"{row}/{labels}", f"{about['subject']}/{labels or max(counts, default=0)}")]
    if None in (*spans[0], *spans[1]):
        return None
    return "better" if spans[0][0] > spans[1][1] else "worse" if spans[0][1] < spans[1][0] else "level"


def _span(figures: Mapping[str, float | None]) -> str:
    if figures["accuracy_low"] is None:
        return "–"
    return f"{figures['accuracy_low']:.1%} to {figures['accuracy_high']:.1%}"


def _unit(about: Mapping[str, Any], row: str, name: str) -> str:
    length = name.endswith(("position_error", "radius_error"))
    return f" {about['targets'][row]['unit']}" if length and row in about["targets"] else ""


def _protocol(config: ConfigDict, about: Mapping[str, Any]) -> str:
    study = config.study
    budget = ", ".join(f"{epochs} passes over {labels:,}" for labels, epochs in zip(study.labels, study.epochs))
    rates = ("were chosen on validation, by the same sweep for every method" if about["rates"] else
             "are those of the config; none was tried")
    missing = f" Not finished: {', '.join(about['unfinished'])}." if about["unfinished"] else ""
    return (f"Every row learned from the same clips, with {study.seeds} seeds, each with clips of its own: {budget}; "
            "models of tracks fit them at once, and the oracle learns from none. The checkpoint is the best on "
            f"validation; test clips chose nothing. Learning rates {rates}. "
            "Intervals: Student's t over the seeds and the chance of which clips are in the split, together. The "
            f"ensemble is the mean of the methods' probabilities.{missing}")


def _targets(about: Mapping[str, Any]) -> Iterator[str]:
    if about["targets"]:
        notes = [page.paragraph(f"{row}: {target['doc']}") for row, target in about["targets"].items()]
        beside = ("Beside each row: the mean position of the training clips; the last tracked position, copied; the "
                  "next one at the last tracked velocity; and the tokenizer's own error, which is how far the object, "
                  "tracked in reconstructions of the same clips, is from the truth in the frames where it is found. Of "
                  "methods without a tokenizer it is that of the study's subject.")
        yield page.section("What was asked", *notes, page.paragraph(beside, "note"))


def _rates(about: Mapping[str, Any]) -> Iterator[str]:
    """What each factor of a learning rate came to, and the one that was taken."""
    if not about["rates"]:
        return
    one = next(iter(about["rates"].values()))
    factors = list(one["tried"])
    lines = [[row, *("diverged" if choice["tried"][factor] is None else f"{choice['tried'][factor]:.3g}"
                     for factor in factors), f"{choice['factor']:g}"] for row, choice in about["rates"].items()]
    note = (f"{one['measure']} of a training on {one['labels']:,} labels with seed {one['seed']}, by factor of the "
            "learning rate (of the linear model of tracks: of its penalty). The best was taken for all of the row's "
            "trainings; of equal ones that nearest to 1.")
    yield page.section("Learning rates", page.paragraph(note, "note"),
                       page.html_table(["method", *(f"x {factor}" for factor in factors), "taken"], lines))


def _controls(numbers: Numbers, about: Mapping[str, Any]) -> Iterator[str]:
    lines = []
    for group in about["groups"]:
        if group["control"] is None:
            continue
        row = group["row"]
        control = about.get("controls", {}).get(group["control"], {"lands": "below", "text": group["control"]})
        figures = {name: numbers.get(f"test/{row}+{group['control']}/{group['labels']}/{name}")
                   for name in ("accuracy", "accuracy_low", "accuracy_high")}
        own, low = (numbers[f"test/{row}/{group['labels']}/accuracy{end}"] for end in ("", "_low"))
        if figures["accuracy"] is not None:
            chance = control["lands"] == "chance"
            must = f"chance, {about['chance']:.1%}" if chance else f"below the row, {own:.1%}"
            apart = "–" if chance else "yes" if figures["accuracy_high"] < low else "no"
            lines.append([row, f"{group['labels']:,}", control["text"], f"{figures['accuracy']:.1%}", _span(figures),
                          must, apart])
    if lines:
        headings = ["method", "labels", "taken away", "accuracy", "95 % interval", "must be", "intervals apart"]
        yield page.section("Controls", page.html_table(headings, lines))


def _efficiency(numbers: Numbers, about: Mapping[str, Any]) -> Iterator[str]:
    lines: dict[str, list[tuple[float, ...]]] = {}
    for group in about["groups"]:
        name = f"test/{group['row']}/{group['labels']}/accuracy"
        if group["control"] is None and name in numbers:
            figures = [numbers[f"{name}{end}"] for end in ("", "_low", "_high")]
            lines.setdefault(group["row"], []).append((group["labels"], *figures))
    if lines:
        chart = study_figures.efficiency({row: sorted(points) for row, points in lines.items()}, about["chance"])
        picture = page.html_picture(as_png(chart), "accuracy over labels", frame=False)
        yield page.section("Labels that it takes", picture)


def _largest(done: Sequence[_Run]) -> dict[str, list[_Run]]:
    """The seeds of every row at its largest number of labels, as far as they tell classes."""
    rows: dict[str, list[_Run]] = {}
    for one in sorted(done, key=lambda one: -one.labels):
        if "prediction" in one.test:
            rows.setdefault(one.row, [])
            if not rows[one.row] or rows[one.row][0].labels == one.labels:
                rows[one.row].append(one)
    return rows


def _confidence(done: Sequence[_Run]) -> Iterator[str]:
    tables = {row: [one.test for one in part] for row, part in _largest(done).items()}
    if not tables:
        return
    told = {row: tuple(np.concatenate([table[name] for table in part]) for name in ("probability", "correct"))
            for row, part in tables.items()}
    reliable = {row: calibration(*pair) for row, pair in told.items()}
    covered = {row: coverage(*pair) for row, pair in told.items()}
    note = ("Left: of the clips where a row is so sure, how many it names right; on the diagonal it knows what it "
            "knows. Right: accuracy where it answers only for the clips it is surest of.")
    lines = [[row, f"{error:.3f}", *(_answered(covered[row], minimum) for minimum in (0.95, 0.99))]
             for row, (error, _) in reliable.items()]
    chart = study_figures.confidence({row: bins for row, (_, bins) in reliable.items()}, covered)
    yield page.section(
        "How sure it is", page.paragraph(note, "note"),
        page.html_picture(as_png(chart), "reliability", frame=False),
        page.html_table(
            ["method", "expected calibration error", "answered at 95 % right", "answered at 99 % right"], lines))


def _answered(curve: Mapping[str, np.ndarray], minimum: float) -> str:
    """The largest share of clips that can be answered at this accuracy, and the confidence that it takes."""
    good = np.flatnonzero(curve["accuracy"] >= minimum)
    return f"{curve['coverage'][good[-1]]:.1%} (sure by {curve['threshold'][good[-1]]:.2f})" if len(good) else "none"


def _confusions(done: Sequence[_Run], names: Sequence[str]) -> Iterator[str]:
    blocks = []
    for row, part in _largest(done).items():
        counts = np.zeros((len(names),) * 2, int)
        for one in part:
            np.add.at(counts, (one.test["label"], one.test["prediction"]), 1)
        lines = [[name, *map(str, line), f"{line[place] / max(line.sum(), 1):.1%}"]
                 for place, (name, line) in enumerate(zip(names, counts))]
        blocks += [page.heading(row), page.html_table(["", *names, "right"], lines)]
    if blocks:
        note = "True classes down, named ones across; all seeds, with the most labels."
        yield page.section("Confusions", page.paragraph(note, "note"), *blocks)


def _robustness(workdir: pathlib.Path, about: Mapping[str, Any]) -> Iterator[str]:
    """Curves of robustness, and a table of what an answer costs."""
    path = next((workdir / name for name in _ROBUSTNESS if (workdir / name).exists()), None)
    rows = json.loads(path.read_text()) if path else {}
    if rows:
        clips = max(row["clips"] for row in rows.values())
        note = (f"Accuracy on {clips:,} test clips that were corrupted, which no method was trained for: noise by its "
                "standard deviation, blur by its width in pixels of a picture of 64, occlusion by the share that a "
                "grey square hides. The cost is from pixels, codes included, in batches, on the device that is named; "
                "the parameters are those of the method's network, without a tokenizer.")
        sizes = {one["name"]: one["parameters"] for one in about["members"]}
        chart = study_figures.robustness({name: row["corruptions"] for name, row in rows.items()})
        lines = [[name, f"{row['milliseconds']:.1f}", row["device"], _count(sizes[row["member"]])]
                 for name, row in rows.items() if row["member"] in sizes]
        yield page.section(
            "Corrupted clips, and what an answer costs", page.paragraph(note, "note"),
            page.html_picture(as_png(chart), "accuracy over corruption", frame=False),
            page.html_table(["method", "milliseconds a clip", "on", "parameters"], lines))


def _count(parameters: int | None) -> str:
    return "–" if parameters is None else f"{parameters:,}"


def _clips(workdir: pathlib.Path) -> Iterator[str]:
    """Attention over space and time laid over clips, and the worst mistakes."""
    if not (workdir / _SAMPLES).exists():
        return
    samples = read_texts(workdir / _SAMPLES)
    names = samples["class_names"]
    for choice, title in (("mistake", "Worst mistakes"), ("example", "Where it looks")):
        cards = []
        for row in np.flatnonzero(samples["choice"] == choice):
            video = samples["video"][row]
            clips = [video]
            if "attention" in samples:
                clips.append(study_figures.lit(video, samples["attention"][row]))
            words = (f"{samples['id'][row]}: {names[samples['label'][row]]}, named "
                     f"{names[samples['prediction'][row]]} with {samples['probability'][row]:.1%}")
            clip = animation(clips, 12.0, max(1, 160 // video.shape[2]), max_bytes=200_000)
            cards.append(page.html_picture(clip, words, words))
        if cards:
            note = "The clip and, where the network can say, the clip lit where it looks, in the mean over its queries."
            yield page.section(title, page.paragraph(note, "note"), page.row(*cards))
