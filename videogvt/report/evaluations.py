"""What a report says of evaluations that are not the training's own: of other data, or with another config."""

import json
from collections.abc import Iterator

from videogvt.report import page
from videogvt.report.runs import Run


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


def differences(run: Run) -> Iterator[str]:
    """Blocks with the same, and with every value that differs."""
    for sentence in sentences(run):
        pairs = run.about["differs"] | {f"hash of {name}": pair for name, pair in run.about["other_data"].items()}
        yield page.paragraph(sentence)
        yield page.table(["key", "trained with", "measured with"],
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
        yield page.section("Other evaluations", page.table(["folder", "step", "what differs from the training"], rows))
