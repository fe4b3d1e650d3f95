"""Controls of a comparison of classifiers: what each is, how sure a figure is, and by which rules a row is broken.

A row is a way to classify (a network on codes, on pixels, a model of tracks). Its controls are the same training with
something taken away. Where that is all that tells the classes apart, the control must land on chance; where it leaves
something, the row must beat the control. A row that breaks a rule is a defect of the experiment, to be
found before any figure is believed.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtrit

_MARGIN = 0.01  # accuracy by which an interval may miss chance before a control counts as off it
@dataclasses.dataclass(frozen=True)
class Control:
    """A training with something taken away.

    Attributes:
      lands: where it must land: on "chance", or "below" the row.
      text: what is taken away.
      off: what it means if it does not land there.
    """

    lands: Literal["chance", "below"]
    text: str
    off: str


CONTROLS: Mapping[str, Control] = {
    "untrained": Control(
        "below", "codes of a tokenizer with random weights", "the trained tokenizer adds nothing that the row uses"),
    "shuffled_labels": Control(
        "chance", "training labels shuffled among the clips", "test clips leak into the training"),
    "first_frame": Control(
        "chance", "every frame replaced by the first", "a still picture gives the class away"),
    "start_position": Control(
        "chance", "the start position alone, by boosted trees", "the place of the start gives the class away"),
    "shuffled_time": Control(
        "below", "the grid's times in random order, another for each clip", "the row does not use the order of time"),
}


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean accuracy with its 95 % interval, and the accuracies (one for each seed) and clips behind it."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    clips: int


@dataclasses.dataclass(frozen=True)
class Defect:
    """A row that breaks a rule: its name, the rule's, and both in words."""

    row: str
    rule: Literal["below chance", "not above chance", "off chance", "not above its control"]
    words: str


def interval(accuracy_S: Sequence[float], clips: int) -> Interval:
    """The mean over seeds and its 95 % interval.

    Two things are uncertain: the seed (Student's t over the seeds) and the clips that happen to be in the split, which
    all seeds share (normal, with Agresti and Coull's two successes and two failures added, so that 100 % is not
    certain). Their half-widths add in squares. A single seed tells nothing of the first.
    """
    values = np.asarray(accuracy_S, np.float64)
    mean, seeds = float(values.mean()), len(values)
    share = (mean * clips + 2) / (clips + 4)
    half = 1.96 * math.sqrt(share * (1 - share) / (clips + 4))
    if seeds > 1:
        quantile = float(stdtrit(seeds - 1, 0.975))  # what scipy.stats.t.ppf asks, without loading scipy.stats
        half = math.hypot(half, quantile * float(values.std(ddof=1)) / math.sqrt(seeds))
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), tuple(map(float, values)), clips)


def defects(
    row: str, own: Interval | None, chance: float, controls: Mapping[str, Interval]
) -> list[Defect]:
    """What is broken about a row, by rule.

    - "below chance": its interval lies below chance; no honest training does that.
    - "not above chance": its interval reaches down to chance, so nothing was learned.
    - "off chance": a control that must land on chance has an interval that misses it by more than a point.
    - "not above its control": a control that must stay below the row is as good as the row or better.

    Args:
      row: its name.
      own: its accuracy; None where the row itself was not trained.
      chance: the accuracy of who knows only how frequent the classes are.
      controls: accuracies of its controls, by the names in ``CONTROLS``.
    """
    found = []
    if own is not None and own.high < chance:
        found.append(Defect(row, "below chance", (
            f"{row} names {own.mean:.1%} right ({own.low:.1%} to {own.high:.1%}), below chance ({chance:.1%}): labels "
            "of training and test do not mean the same, or the training is broken.")))
    elif own is not None and own.low <= chance:
        found.append(Defect(row, "not above chance", (
            f"{row} names {own.mean:.1%} right ({own.low:.1%} to {own.high:.1%}), which chance ({chance:.1%}) does "
            "too: it learned nothing, or the training is broken.")))
    for name, figure in controls.items():
        control = CONTROLS[name]
        span = f"{row} with {control.text} names {figure.mean:.1%} right ({figure.low:.1%} to {figure.high:.1%})"
        if control.lands == "chance" and not figure.low - _MARGIN <= chance <= figure.high + _MARGIN:
            found.append(Defect(row, "off chance", f"{span}, off chance ({chance:.1%}): {control.off}."))
        if control.lands == "below" and own is not None and own.mean <= figure.mean:
            text = f"{span}, and {row} itself {own.mean:.1%}: {control.off}."
            found.append(Defect(row, "not above its control", text))
    return found


def above(one: Interval, other: Interval) -> bool:
    """Whether the interval of one lies wholly above the other's."""
    return one.low > other.high


def verdict(
    rows: Mapping[int, Mapping[str, Interval]], subject: str, broken: Sequence[Defect], chance: float,
    inputs: Mapping[str, str],
) -> tuple[str, str]:
    """Two sentences by rule: what the codes carry beside the other rows, and whether the experiment can be believed.

    Args:
      rows: accuracies by number of labels and row; rows that learn from no label stand beside every number.
      subject: the row on codes.
      broken: defects of all rows and controls.
      chance: the accuracy of chance.
      inputs: what each row sees: "codes", "pixels", "tracks", ...
    """
    second = (f"{len(broken)} {'defect was' if len(broken) == 1 else 'defects were'} found, so the table is not to be "
              f"believed yet: {'; '.join(f'{defect.row} is {defect.rule}' for defect in broken)}."
              if broken else "No row and no control breaks a rule.")
    most = rows[max(rows)]
    if subject not in most:
        best = max(most, key=lambda name: most[name].mean)
        return f"The best row, {best}, names {most[best].mean:.1%} right; no row on codes was trained.", second
    own, lost = most[subject], {labels: _better(found, subject) for labels, found in rows.items() if subject in found}
    better = lost[max(rows)]
    worse = [name for name, other in most.items() if name != subject and above(own, other)]
    level = [name for name in most if name not in (subject, *better, *worse)]
    groups = [("it beats", worse), ("cannot be told from", level), ("loses to", better)]
    parts = [f"{word} {_names(names, most)}" for word, names in groups if names]
    first = f"{subject} names {own.mean:.1%} of the clips right ({own.low:.1%} to {own.high:.1%}; chance {chance:.1%})"
    first = f"{first}{': ' if parts else ''}{', '.join(parts)}"
    fewer = [f"with {labels:,} labels it loses to {_names(names, rows[labels])}"
             for labels, names in sorted(lost.items(), reverse=True) if names and labels != max(rows)]
    others = dict.fromkeys(inputs[name] for names in lost.values() for name in names)
    others.pop(inputs[subject], None)
    said = [*fewer, *([f"so {inputs[subject]} lose to {' and '.join(others)}"] if others else [])]
    return f"{'; '.join([first, *said])}.", second


def _better(rows: Mapping[str, Interval], subject: str) -> list[str]:
    return [name for name, other in rows.items() if name != subject and above(other, rows[subject])]


def _names(names: Sequence[str], rows: Mapping[str, Interval]) -> str:
    return ", ".join(f"{name} ({rows[name].mean:.1%})" for name in names)
