"""The sections of a report on generated clips: verdict, figures beside real clips and chance, clips, decoding steps."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from videogvt.report import page
from videogvt.report.grids import Table
from videogvt.report.images import GAP, animation, edged, enlarge, merged, spread, strip, webp
from videogvt.report.runs import Arrays, Grid, Run
from videogvt.report.verdict import QualityTarget, Verdict, checked

_ROWS = {"": "generated", "independent": "codes drawn independently", "real": "real clips",
        "reconstructed": "real, through the tokenizer", "shuffled": "real, labels shuffled",
        "copied": "training clips", "mean_track": "mean track"}
FIGURES = {
    "one_object_share": ("exactly one object persists", "{:.1%}"),
    "object_found_share": ("object found, of frames", "{:.1%}"),
    "oracle_agreement": ("class named by the oracle", "{:.1%}"),
    "oracle_agreement_min": ("the same, in the worst class", "{:.1%}"),
    "judge_agreement": ("class named by the classifier", "{:.1%}"),
    "frechet_traj": ("frechet_traj (real clips: the control)", "{:.4g}"),
    "fit_residual_px": ("misfit of the claimed family, px", "{:.3f}"),
    "acceleration_px": ("acceleration, px a frame²", "{:.3f}"),
    "jerk_px": ("jerk, px a frame³", "{:.3f}"),
    "jerk_vs_real": ("jerk, against real", "{:.2f}"),
    "speed_plausible": ("speed as in training", "{:.1%}"),
    "radius_plausible": ("radius as in training", "{:.1%}"),
    "hue_drift_deg": ("change of hue within a clip, degrees", "{:.1f}"),
    "radius_drift": ("change of radius within a clip, of the radius", "{:.3f}"),
    "hue_distance_deg": ("hues, distance to other real clips, degrees", "{:.1f}"),
    "radius_distance_px": ("radii, distance to other real clips, px", "{:.3f}"),
    "place_distance_px": ("places, distance to other real clips, px", "{:.2f}"),
    "speed_distance_px": ("speeds, distance to other real clips, px a frame", "{:.3f}"),
    "spread_px": ("spread within a class, px", "{:.2f}"),
    "spread_vs_real": ("spread, against real", "{:.2f}"),
    "spread_vs_real_min": ("the same, in the worst class", "{:.2f}"),
    "shape_spread_vs_real": ("spread of shapes, against real", "{:.2f}"),
    "nearest_train_px": ("distance to the nearest training track, px", "{:.2f}"),
    "memory_vs_real": ("the same, against real", "{:.2f}"),
    "clips": ("clips", "{:,.0f}"),
    "fvd": ("FVD (real clips: the control)", "{:.1f}"),
    "fvd_std": ("its std over folds", "{:.1f}"),
    "fvd_clips": ("clips of a fold of the FVD", "{:,.0f}"),
    "inception_score": ("Inception Score", "{:.2f}"),
    "inception_score_std": ("its std over folds", "{:.2f}"),
    "inception_score_clips": ("clips of a fold of the score", "{:,.0f}"),
}
_NOTE = (
    "Of several seeds the mean, with their range in brackets. Codes drawn independently: each is that of another "
    "training clip of the class in the same place. Medians of clips: misfit, acceleration, jerk, changes, distance to "
    "training. Without a track a clip is named by nobody, is not plausible, adds nothing to the spread, its misfit is "
    "half the picture's diagonal; its hue drifts by 180 degrees. Distances of distributions (Wasserstein-1) are to "
    "other real clips than those of the column 'real clips', which is the control. Speed and radius are as in training "
    "between the 1st and the 99th percentile of the training clips of the class. frechet_traj is a Fréchet distance on "
    "our own classifier's features, no FVD."
)
PUBLISHED_FOLDS = (4, 10_000)
"""Folds and their clips in the figures of UCF-101 (arXiv 2212.05199)."""
SCORES = {"fvd": "FVD", "inception_score": "Inception Score"}
_FLOOR = (0.80, 0.60, 0.40)
"""Least shares of clips with one object, of clips whose class is correct, and of those in the worst class."""
TWICE = {"one_object_share": "exactly one persistent object", "oracle_agreement": "class named by the oracle"}
DRIFTS = {"hue_drift_deg": ("hue", "{:.1f}", 180.0), "radius_drift": ("radius", "{:.3f}", np.inf)}
"""Figures of what changes within a clip: what it is, as text, and what stands for clips in which it cannot be told."""


def applies(grid: Grid) -> bool:
    """Whether an evaluator's numbers are those of generated clips."""
    return any(figure in grid[""] for figure in ("oracle_agreement", "judge_agreement", *SCORES))


def generation_verdict(grid: Grid) -> Verdict:
    """The verdict on generated clips: better than chance at all, and which targets are met.

    FVD and Inception Score are said beside those of real clips; there is no rule for them.
    """
    scores = "".join(f" {sentence}" for sentence in _scores(grid))
    if "shuffled" not in grid:
        return Verdict(good=True, sentence=scores.strip(), targets=())
    one, named, least = _FLOOR
    targets = tuple(checked(target, grid) for target in (
        QualityTarget(f"exactly one persistent object in at least {one:.0%} of clips", (("", "one_object_share"),),
             lambda x: x >= one, "{:.1%}"),
        QualityTarget(f"class named by the oracle in at least {named:.0%} of clips", (("", "oracle_agreement"),),
             lambda x: x >= named, "{:.1%}"),
        QualityTarget(f"and in at least {least:.0%} in every class", (("", "oracle_agreement_min"),),
             lambda x: x >= least, "{:.1%}"),
        *(QualityTarget(f"{name} in at least twice as many clips as of codes drawn independently",
               (("", figure), ("independent", figure)), lambda x, alone: x > 0 and x >= 2 * alone, "{:.1%}")
          for figure, name in TWICE.items()),
        *(QualityTarget(f"{name} within a clip can be told, and is at most twice as unsteady as of reconstructed clips",
               (("", figure), ("reconstructed", figure)),
               lambda x, best, worst=worst: x < worst and x <= 2 * best, form)
          for figure, (name, form, worst) in DRIFTS.items()),
        QualityTarget("tracks spread within a class at least 70 % as far as real ones", (("", "spread_vs_real"),),
             lambda x: x >= 0.7, "{:.2f}"),
        QualityTarget("median distance to the nearest training track at least 0.8 times that of real clips",
             (("", "memory_vs_real"),), lambda x: x >= 0.8, "{:.2f}"),
    ) if all(figure in grid.get(row, ()) for row, figure in target.figures))
    by = "oracle" if "oracle_agreement" in grid[""] else "classifier"
    figure = "oracle_agreement" if by == "oracle" else "judge_agreement"
    chance = grid["shuffled"][figure]
    missed = [f"{text} ({value})" for text, value, met in targets if not met]
    better = grid[""][figure] > chance
    sentence = "It generates what it is asked for" if better and not missed else (
        "It generates clips of their class, not everything as it should be" if better else
        "Its clips are no more of the class asked for than chance")
    return Verdict(good=better and not missed, targets=targets, sentence=f"{sentence}: {_facts(grid, by, figure)}. " + (
        f"Missed: {'; '.join(missed)}." if missed else f"All {len(targets)} targets are met." if targets else ""
    ).strip()
        + scores)


def _facts(grid: Grid, by: str, figure: str) -> str:
    others = [f"{grid['shuffled'][figure]:.0%} by chance"]
    others += [f"{grid[row][figure]:.1%} of {name}" for row, name in (
        ("independent", "codes drawn independently"), ("real", "real clips"),
        ("reconstructed", "real clips through the tokenizer")) if row in grid]
    one = ""
    if "one_object_share" in grid[""]:
        own = grid[""]
        one = f"{own['one_object_share']:.1%} of {own['clips']:,.0f} clips show exactly one persistent object, "
    return f"{one}the {by} names the class asked for in {grid[''][figure]:.1%} ({', '.join(others)})"


def _scores(grid: Grid) -> Iterator[str]:
    """A sentence for every published figure."""
    for figure, name in SCORES.items():
        if figure in grid[""]:
            shown = {row: f"{grid[row][figure]:.4g} ± {grid[row][figure + '_std']:.2g}" for row in ("", "real")}
            yield f"{name} {shown['']} ({shown['real']} of real clips)."


def table(grid: Grid) -> Table:
    """Headings and lines: a column for each row of the evaluator, a line for each figure."""
    rows = [row for row in _ROWS if row in grid]
    lines = [[title, *(cell(grid[row], name, form) for row in rows)]
             for name, (title, form) in FIGURES.items() if any(name in grid[row] for row in rows)]
    return ["", *(_ROWS[row] for row in rows)], lines


def cell(numbers: Mapping[str, float], name: str, form: str) -> str:
    """A figure as text, with the range over seeds where there is one."""
    if name not in numbers:
        return "–"
    text = form.format(numbers[name])
    if f"{name}_low" not in numbers:
        return text
    return f"{text} ({form.format(numbers[f'{name}_low'])} to {form.format(numbers[f'{name}_high'])})"


def class_table(grid: Grid) -> Table:
    """Headings and lines: a line for each class, of generated clips and, in brackets, of real ones."""
    names = [row.removeprefix("by_class/") for row in grid if row.startswith("by_class/")]
    shown = [figure for figure in FIGURES if any(figure in grid[f"by_class/{name}"] for name in names)]
    lines = []
    for name in names:
        cells = []
        for figure in shown:
            own, real = (grid.get(f"{row}by_class/{name}", {}).get(figure) for row in ("", "real/"))
            texts = ["–" if value is None else FIGURES[figure][1].format(value) for value in (own, real)]
            cells.append(texts[0] if figure.endswith(("_vs_real", "clips")) else f"{texts[0]} ({texts[1]})")
        lines.append([name, *cells])
    return ["class", *(FIGURES[figure][0] for figure in shown)], lines


def sections(run: Run, name: str) -> Iterator[str]:
    """The sections of one evaluator of generated clips."""
    grid, files, facts = run.grid(name), run.files.get(name, {}), run.about["evaluators"].get(name, {})
    scored = [page.paragraph(_protocol(facts["published"]), "note")] if facts.get("published") else []
    blocks = [page.paragraph(_NOTE, "note"), *scored, page.html_table(*table(grid), strong=1)]
    if any(row.startswith("by_class/") for row in grid):
        blocks += [page.heading("By class, real clips in brackets"), page.html_table(*class_table(grid))]
    for judge_name in ("oracle", "judge"):
        if f"confusion_{judge_name}" in files:
            confusion = files[f"confusion_{judge_name}"]
            names = confusion["class_names"].tolist()
            rows = [[asked, *map(str, row)] for asked, row in zip(names, confusion["counts_KK"])]
            blocks += [page.heading(f"What the {judge_name} names (across) of what was asked for (down)"),
                       page.html_table(["", *names], rows)]
    settings = ", ".join(f"{key} {value}" for key, value in facts.get("decoding", {}).items())
    notes = [page.paragraph(f"Decoding: {settings}.", "note")] if settings else []
    if "seeds" in facts:
        notes.append(page.paragraph(f"Split {facts['split']}, seeds {', '.join(map(str, facts['seeds']))}.", "note"))
    title = f"Generated clips: {name}" + (f" ({facts['split']})" if "split" in facts else "")
    yield page.section(title, *notes, *blocks)
    if "samples" in files and name != "validation":
        yield page.section(f"Samples: {name}", *_samples(files["samples"]))
    shown = "trajectory" if "trajectory" in files else "unfolded"  # as earlier runs call it
    if shown in files and name != "validation":
        yield page.section(f"Decoding, step by step: {name}", *_trajectory(files[shown]))
        if "attention" in files[shown]:
            yield page.section(f"Attention: {name}", *_attended(files[shown]))


def _protocol(facts: Mapping[str, Any]) -> str:
    """How published figures were measured, and with what."""
    networks = "; ".join(f"{SCORES[figure]} by {facts[name]['network']}, sha256 {facts[name]['sha256'][:12]}"
                         for name, figure in (("i3d", "fvd"), ("c3d", "inception_score")) if name in facts)
    folds, clips = PUBLISHED_FOLDS
    same = "" if (facts["folds"], facts["fold_clips"]) == PUBLISHED_FOLDS else (
        f" Published figures have {folds} folds of {clips:,} clips; of other numbers they do not compare.")
    return (f"{networks}. {facts['folds']} folds of {facts['fold_clips']:,} clips, of the classes of as many training "
            f"clips and against these; the control is between training clips that differ.{same}")


def _samples(samples: Arrays) -> Iterator[str]:
    """The first clips of every class, animated, above real ones."""
    names = samples["class_names"].tolist()
    fps = float(samples["fps"]) if "fps" in samples else 12.0
    scale = max(1, 128 // samples["video"].shape[3])
    yield page.paragraph("The first clips of every class, chosen by nothing, at half speed; real clips of the class "
                         "beside them.", "note")
    for label, name in enumerate(names):
        own = np.flatnonzero(samples["label"] == label)
        real = np.flatnonzero(samples["real_label"] == label)
        heading = name
        if "named" in samples:
            named = [(*names, "unknown")[place] for place in samples["named"][own]]
            heading += f": the oracle says {', '.join(named)}"
        yield page.heading(heading)
        pairs = ((samples["video"][own], "generated"), (samples["real"][real], "real"))
        clips = [(animation(videos, fps, scale, max_bytes=300_000), kind) for videos, kind in pairs if len(videos)]
        yield page.row(*(page.html_picture(clip, f"{kind} clips of {name}", kind) for clip, kind in clips))


def _trajectory(trajectory: Arrays) -> Iterator[str]:
    """For every class one clip as each step proposes it, all frames in one picture, above what the step hides again."""
    videos_NSTHWC, masked_NSthw = trajectory["videos"], trajectory["masked"]
    steps = spread(videos_NSTHWC.shape[1], 12)
    size = videos_NSTHWC.shape[3:5]
    yield page.paragraph("From left to right: what all tokens decode to after each step, every frame laid over the "
                         "others; below, in black, the share of tokens over time that the step hides again.", "note")
    for row, label in enumerate(trajectory["label"]):
        pictures = np.stack([merged(video) for video in videos_NSTHWC[row]])
        hidden_Shw = np.round(255 * (1.0 - masked_NSthw[row].mean(axis=1))).astype(np.uint8)
        grey = np.repeat(hidden_Shw[..., None], 3, axis=-1)
        grey = grey.repeat(size[0] // grey.shape[1], axis=1).repeat(size[1] // grey.shape[2], axis=2)
        cells = strip([pictures, grey], steps, max(1, 96 // size[1]))
        yield page.heading(f"{trajectory['class_names'][label]}: {videos_NSTHWC.shape[1]} steps")
        yield page.html_picture(webp(cells, max_bytes=150_000), "decoding steps", frame=False)


def _attended(trajectory: Arrays) -> Iterator[str]:
    """Who attends to whom in the first clip, half way through its decoding: a square for every layer and head."""
    maps_NASS = trajectory["attention"].astype(np.float32)
    name = trajectory["class_names"][trajectory["label"][0]]
    yield page.paragraph(
        f"The first clip above, {name}, half way through its decoding: a row "
        "of squares for each layer, a square for each head. In a square rows are what looks and columns what is looked "
        "at: first class and task, then the times of the grid in order. The darker, the more of a row's attention.",
        "note")
    size = max(6, 96 // maps_NASS.shape[-1])
    rows = [np.concatenate([_square(map_SS, size) for map_SS in layer_ASS], axis=1) for layer_ASS in maps_NASS]
    yield page.html_picture(webp(np.concatenate(rows), max_bytes=150_000), "attention from time to time", frame=False)


def _square(map_SS: np.ndarray, size: int) -> np.ndarray:
    """A map whose largest value is black, with a border: uint8 (rows, columns, 3)."""
    grey = np.round(255 * (1 - map_SS / map_SS.max())).astype(np.uint8)[..., None].repeat(3, axis=-1)
    return np.pad(edged(enlarge(grey, size)), ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
