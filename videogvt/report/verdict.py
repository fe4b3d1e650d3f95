"""The verdict on a tokenizer, in a sentence and by rule, from its figures and those of the baselines."""

import dataclasses
from collections.abc import Callable, Mapping

_Grid = Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class QualityTarget:
    """Something a good tokenizer of trajectories reaches on the test split.

    Attributes:
      text: what is asked.
      figures: (row, figure) pairs that it looks at; without them it does not apply.
      met: whether their values reach it.
      shown: format of the first value.
    """

    text: str
    figures: tuple[tuple[str, str], ...]
    met: Callable[..., bool]
    shown: str


QUALITY_TARGETS = (
    QualityTarget("object found in at least 99.3 % of frames",
                  (("", "object_found_share"),), lambda x: x >= 0.993, "{:.2%}"),
    QualityTarget("median track error at most 0.5 px",
                  (("", "track_error_px_median"),), lambda x: x <= 0.5, "{:.2f} px"),
    QualityTarget("95 % of track errors at most 1.2 px",
                  (("", "track_error_px_p95"),), lambda x: x <= 1.2, "{:.2f} px"),
    QualityTarget("PSNR at least 6 dB above the all-background video",
         (("", "psnr"), ("background", "psnr"), ("", "object_found_share")),  # without an object there is no background
         lambda x, background, found: x >= background + 6.0, "{:.1f} dB"),
    QualityTarget("error on the object's own pixels at most half of the all-background video's",
         (("", "object_mse"), ("background", "object_mse")), lambda x, background: x <= 0.5 * background, "{:.3f}"),
    QualityTarget("oracle right at least 98.5 % as often as on originals",
                  (("", "oracle_vs_original"),), lambda x: x >= 0.985,
         "{:.1%}"),
    QualityTarget("one code for at least 99.9 % of blank cells",
                  (("modelability", "empty_share"),), lambda x: x >= 0.999,
         "{:.2%}"),
    QualityTarget("at least 90 % of the codes used by speaking positions", (("modelability", "usage_speaking"),),
         lambda x: x >= 0.9, "{:.1%}"),
    QualityTarget("noise of 1/255 changes at most 2 % of speaking codes", (("modelability", "noise_changed_speaking"),),
         lambda x: x <= 0.02, "{:.2%}"),
    QualityTarget("no two codes alike", (("modelability", "duplicates"),), lambda x: x == 0, "{:.0f} duplicates"),
)
"""There is none for the codes used and their perplexity over all positions: both grow when cells that show nothing get
many codes, which are the harder to model."""

_BASELINES = ("background", "mean_frame", "nearest_clip", "untrained")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the figures say.

    Attributes:
      good: whether every target that applies is met and the baselines are beaten.
      sentence: in words.
      targets: (text, value, whether met) of every target that applies.
    """

    good: bool
    sentence: str
    targets: tuple[tuple[str, str, bool], ...]


def reconstruction_verdict(grid: _Grid, split: str = "test") -> Verdict:
    """The verdict on the figures of one split: ``grid[row][figure]``, row "" being the tokenizer, row "modelability"
    what was found about its codes.

    The rule: it beats the baselines if its PSNR is above each of theirs and, where objects are tracked, it finds
    the object in more frames than any of them. Then every target whose figures are there is checked.
    """
    own, others = grid[""], {name: grid[name] for name in _BASELINES if name in grid}
    lost = [name for name, figures in others.items() if not _beats(own, figures)]
    targets = tuple(checked(target, grid) for target in QUALITY_TARGETS if _applies(target, grid))
    missed = [f"{text} ({value})" for text, value, met in targets if not met]
    facts = _facts(grid, split)
    if lost:
        sentence = f"It does not beat the baselines ({', '.join(map(plain_name, lost))}): {facts}."
    elif missed:
        sentence = f"It beats the baselines and meets {len(targets) - len(missed)} of {len(targets)} targets: {facts}. "
        sentence += f"Missed: {'; '.join(missed)}."
    elif not targets:
        sentence = f"It beats the baselines: {facts}."
    else:
        met = f"All {len(targets)} targets are met" if len(targets) > 1 else "The only target is met"
        sentence = f"It keeps what matters in the video: {facts}. {met}."
    return Verdict(good=not lost and not missed, sentence=sentence, targets=targets)


def plain_name(name: str) -> str:
    """A row's name as a reader would say it."""
    names = {"": "tokenizer", "background": "all background", "mean_frame": "mean frame", "original": "originals",
             "nearest_clip": "nearest training clip", "untrained": "untrained tokenizer"}
    return names.get(name, name.replace("_", " "))


def _beats(own: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(own[name] > other[name] for name in ("psnr", "object_found_share") if name in own and name in other)


def _applies(target: QualityTarget, grid: _Grid) -> bool:
    return all(row in grid and figure in grid[row] for row, figure in target.figures)


def checked(target: QualityTarget, grid: _Grid) -> tuple[str, str, bool]:
    """Text and value of a target, and whether it is met."""
    values = [grid[row][figure] for row, figure in target.figures]
    return target.text, target.shown.format(values[0]), target.met(*values)


def _facts(grid: _Grid, split: str) -> str:
    own = grid[""]
    parts = []
    if "object_found_share" in own:
        parts.append(f"the object is found in {own['object_found_share']:.1%} of frames")
    if "track_error_px_median" in own:
        parts.append(f"{own['track_error_px_median']:.2f} px off in the median")
    name, words = ("background", "an all-background video") if "object_found_share" in own else (
        "mean_frame", "the clip's mean frame")
    against = f" against {grid[name]['psnr']:.1f} dB of {words}" if name in grid else ""
    parts.append(f"at {own['psnr']:.1f} dB PSNR{against}")
    return f"on {own['clips']:,.0f} clips of {split}, " + ", ".join(parts)
