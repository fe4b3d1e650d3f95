"""The report of a run, from the files in its directory alone: one HTML page, one picture, a few lines of text."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from videogvt.report import decoding, digits, generation, images, modelability, page, prediction, reconstructions
from videogvt.report.grids import Table, as_text, figure_table
from videogvt.report.runs import Arrays, Run, read_run
from videogvt.report.verdict import Verdict, reconstruction_verdict


@dataclasses.dataclass(frozen=True)
class Report:
    """What ``write_report`` made.

    Attributes:
      page: path of the HTML page.
      picture: path of the picture of originals and reconstructions; None when the run left no clips.
      text: the verdict and the table for a terminal.
    """

    page: pathlib.Path
    picture: pathlib.Path | None
    text: str


def write_report(workdir: pathlib.Path | str) -> Report:
    """Writes ``report.html`` and, where the run left clips, ``reconstructions.png`` into the run's directory.

    Reads the files of the directory alone. A run that is not finished gets a report of what there is. Where the page
    would pass ``page.MAX_BYTES``, fewer clips of each choice are shown.
    """
    run = read_run(workdir)
    path, picture = run.workdir / "report.html", None
    html = run_page(run, 2)
    if len(html.encode()) > page.MAX_BYTES:
        html = run_page(run, 1)
    page.write_page(path, html)
    shown = reconstructions.first_clips(run)
    if shown:
        picture = run.workdir / "reconstructions.png"
        picture.write_bytes(images.as_png(shown))
    return Report(path, picture, report_text(run, path))


def run_verdict(run: Run) -> Verdict | None:
    """The verdict on the test split, or on the first split there is; None for a run that neither reconstructs nor
    generates."""
    for name in run.evaluators:
        grid = run.grid(name)
        if generation.applies(grid):
            return generation.generation_verdict(grid)
        if "psnr" in grid[""]:
            return reconstruction_verdict(grid | modelability.beside(run, name), name)
    return None


def headline(run: Run) -> str:
    """The verdict in a sentence, or how far the run is."""
    judged = run_verdict(run)
    if judged:
        predicted = [prediction.sentence(grid) for grid in map(run.grid, run.evaluators) if prediction.applies(grid)]
        return " ".join([judged.sentence, *predicted])
    if of_digits := [digits.sentence(grid) for grid in map(run.grid, run.evaluators) if digits.applies(grid)]:
        return " ".join(of_digits)
    for name in run.evaluators:
        grid = run.grid(name)
        if {"accuracy", "clips"} <= set(grid[""]) and "chance" in grid:
            return (f"It names the class of {grid['']['accuracy']:.1%} of {grid['']['clips']:,.0f} clips of {name}; "
                    f"chance is {grid['chance']['accuracy']:.1%}.")
    if run.about:
        return f"Finished after {run.about['total_steps']:,} steps."
    return f"Not finished: {run.rows[-1]['step'] if run.rows else 0:,} steps so far, and no final evaluation yet."


def report_text(run: Run, path: pathlib.Path) -> str:
    """The verdict and the tables for a terminal."""
    parts = [f"{run.name}: {headline(run)}", *sentences(run)]
    for name in run.evaluators:
        if name != "validation" or len(run.evaluators) == 1:
            parts.append(f"{name}\n{as_text(*_table(run, name))}")
    return "\n\n".join([*parts, f"Report: {path}"])


def run_page(run: Run, clips: int) -> str:
    """The whole page, with so many clips of each choice."""
    judged = run_verdict(run)
    kind = "verdict" if judged is None or judged.good else "verdict short"
    blocks = [page.paragraph(headline(run), kind), page.paragraph(_provenance(run), "note")]
    blocks += _differences(run)
    if judged and judged.targets:
        blocks.append(page.html_table(["target", "value", "met"], [[text, value, "yes" if met else "no"]
                                                            for text, value, met in judged.targets]))
    for name in run.evaluators:
        own = _own_sections(run, name)
        blocks += own.sections(run, name) if own else _tables(run, name)
    blocks += [*decoding.sections(run.workdir), *_curves(run), *_details(run)]
    for place, name in enumerate(run.evaluators):
        blocks += reconstructions.sections(run, name, clips if place == 0 else 1)
    blocks += [*others(run), *_configuration(run)]
    return page.document(f"{run.name}: report", *blocks)


def _own_sections(run: Run, name: str):
    """The module that shows an evaluator's numbers in a way of their own; None for one table like all others."""
    return next((kind for kind in (generation, prediction, digits, modelability) if kind.applies(run.grid(name))), None)


def _table(run: Run, name: str) -> Table:
    own = _own_sections(run, name)
    return own.table(run.grid(name)) if own else figure_table(run.grid(name), run.name)


def _provenance(run: Run) -> str:
    about, environment = run.about, run.environment
    words = []
    if about:
        words.append(f"Checkpoint of step {about['step']:,} of {about['total_steps']:,}, seed {about['seed']}, "
                     f"commit {about['trained_by_commit'] or 'unknown'}, config {about.get('config_hash', 'unknown')}.")
        words.append(f"Trained for {about['seconds'] / 60:.1f} minutes on {about['examples']:,} clips.")
    if environment:
        words.append(f"{environment['devices']} x {environment['device']}, {environment['host_cores']} host cores.")
    if "losses" in run.config and {"gan", "perceptual"} & set(run.config["losses"]):
        words.append(f"Adversarial loss {_switch(run.config['losses'], 'gan')}, "
                     f"perceptual loss {_switch(run.config['losses'], 'perceptual')}.")
    return " ".join(words)


def _switch(losses: dict, name: str) -> str:
    """Whether a loss was on: absent, zero, empty and "none" mean off."""
    return "on" if name in losses and losses[name] not in (0, 0.0, "", "none", None) else "off"


def _tables(run: Run, name: str) -> Iterator[str]:
    """The section of one evaluator's figures, with a table by family where the clips have one."""
    facts, grid, note = run.about["evaluators"].get(name, {}), run.grid(name), ""
    if {"clips", "weights", "split_hash"} <= set(facts):
        digest = f"split {facts['split_hash'][:12]}" if facts["split_hash"] else "a split without a hash"
        note = f"{facts['clips']:,} clips of {digest}, {facts['weights']} weights. "
    if "original" in grid:
        note += ("Originals: what tracker and oracle make of the originals themselves. A frame whose object is lost "
                 "counts as a track error of the frame's diagonal.")
    blocks = [page.paragraph(note, "note"), page.html_table(*figure_table(grid, run.name), strong=1)]
    files = run.files.get(name, {})
    if "table" in files and "label" in files["table"] and facts["class_names"]:
        blocks.append(page.heading("By class"))
        blocks.append(page.html_table(*accuracy_by_class(files["table"], facts["class_names"])))
    if "confusion" in files:
        blocks.append(page.heading("Confusions: true classes down, named ones across"))
        names, counts_KK = files["confusion"]["class_names"].tolist(), files["confusion"]["counts_KK"]
        blocks.append(page.html_table(["", *names], [[name, *map(str, row)] for name, row in zip(names, counts_KK)]))
    yield page.section(f"Figures: {name}", *blocks)


def accuracy_by_class(table: Arrays, names: list[str]) -> tuple[list[str], list[list[str]]]:
    """The tokenizer's figures for the clips of every class: headings and rows of text."""
    lines = []
    means = [("psnr", "PSNR, dB", "{:.2f}"), ("found", "object found", "{:.2%}"), ("correct", "right", "{:.1%}")]
    shown = [item for item in means if item[0] in table]
    for label, name in enumerate(names):
        rows = table["label"] == label
        if rows.any():
            cells = [form.format(table[column][rows].mean()) for column, _, form in shown]
            if "track_error_px" in table:
                cells.append(f"{np.nanmedian(table['track_error_px'][rows]):.2f}")
            lines.append([name, f"{rows.sum():,}", *cells])
    last = ["track error, median px"] if "track_error_px" in table else []
    return ["class", "clips", *(heading for _, heading, _ in shown), *last], lines


def _curves(run: Run) -> Iterator[str]:
    """Sections of the training's and the validation's curves."""
    training = run.series("train/")
    if training:
        yield page.section("Training", page.html_picture(images.as_png(images.curves(training)), "curves", frame=False))
    periodic = {name: series for name, series in run.series("eval/").items() if len(series[0]) > 1}
    for evaluator in dict.fromkeys(name.split("/")[0] for name in periodic):
        own = {name.split("/")[1]: series for name, series in periodic.items()
               if name.split("/")[0] == evaluator and name.count("/") == 1 and not name.endswith("/clips")}
        grid = run.grid(evaluator)
        lines = {figure: {"all background": grid["background"][figure]} for figure in ("psnr", "object_mse")
                 if "background" in grid and figure in grid["background"]}
        if own:
            chart = images.as_png(images.curves(own, lines))
            yield page.section(f"Over the training: {evaluator}", page.html_picture(chart, "curves", frame=False))


def _details(run: Run) -> Iterator[str]:
    """Sections of track errors and of code usage."""
    tables = {name: files["table"] for name, files in run.files.items() if "table" in files and name != "validation"}
    errors = {name: table["track_error_px"].ravel() for name, table in tables.items() if "track_error_px" in table
              and np.isfinite(table["track_error_px"]).any()}
    if errors:
        chart = images.as_png(images.error_distribution(errors))
        yield page.section("Track errors", page.html_picture(chart, "distribution of track errors", frame=False))
    for name, files in run.files.items():
        if "codes" in files and name != "validation":
            chart = images.as_png(images.code_histogram(files["codes"]["counts_K"]))
            yield page.section(f"Use of the codes: {name}", page.html_picture(chart, "histogram of codes", frame=False))


def _configuration(run: Run) -> Iterator[str]:
    """Sections of cost and configuration."""
    about, environment = run.about, run.environment
    cost = []
    if about:
        rate = about["examples"] / max(about["seconds"], 1e-9)
        cost += [["training time", f"{about['seconds'] / 60:.1f} minutes"], ["steps", f"{about['last_step']:,}"],
                 ["clips seen", f"{about['examples']:,}"], ["clips a second", f"{rate:,.1f}"]]
    if environment:
        cost += [[name.replace("_", " "), environment.get(name, "not recorded")] for name in (
            "device", "devices", "host_cores", "processor", "processes", "platform", "python", "xla_flags", "started")]
        cost += [[name, version] for name, version in environment["packages"].items()]
    yield page.section("Cost and surroundings", page.html_table(["", ""], cost))
    if about:
        yield page.section("To repeat the figures", page.code(json.dumps(about, indent=2)))
    yield page.section("Configuration", page.code(json.dumps(run.config, indent=2)))


def sentences(run: Run) -> Iterator[str]:
    """Names config and data of such an evaluation; nothing for the training's own."""
    about = run.about
    if "differs" not in about:
        return
    data = {name: facts["split_hash"] for name, facts in about["evaluators"].items() if facts.get("split_hash")}
    seen = ", ".join(f"{name} {digest[:12]}" for name, digest in data.items()) or "data without hashes"
    changed = ", ".join([*about["differs"], *(f"the data of {name}" for name in about["other_data"])])
    yield (f"Not the training's own evaluation: measured with the config {about['measured_config_hash']} on {seen}; "
           f"trained with the config {about['config_hash']}. What differs: {changed}.")


def _differences(run: Run) -> Iterator[str]:
    """Blocks with the same, and with every value that differs."""
    for sentence in sentences(run):
        pairs = run.about["differs"] | {f"hash of {name}": pair for name, pair in run.about["other_data"].items()}
        yield page.paragraph(sentence)
        yield page.html_table(["key", "trained with", "measured with"],
                         [[key, *map(str, pair)] for key, pair in pairs.items()])


def others(run: Run) -> Iterator[str]:
    """The section of such evaluations of a run's checkpoints, which lie in its folder ``evals``."""
    rows = []
    for path in sorted((run.workdir / "evals").glob("*/eval.json")):
        about = json.loads(path.read_text())["about"]
        changed = [f"{key} = {pair[1]}" for key, pair in about["differs"].items()]
        changed += [f"the data of {name}" for name in about["other_data"]]
        rows.append([f"evals/{path.parent.name}", f"{about['step']:,}", ", ".join(changed)])
    if rows:
        headings = ["folder", "step", "what differs from the training"]
        yield page.section("Other evaluations", page.html_table(headings, rows))
