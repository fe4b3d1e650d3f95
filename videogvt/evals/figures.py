"""From a table of clips that claim to show classes to figures, beside the table of real clips."""

from collections.abc import Callable, Sequence

import numpy as np

from videogvt.evals.motion import rows_of, spread_px
from videogvt.evals.rows import Columns

MEDIANS = {"acceleration_px": "acceleration", "jerk_px": "jerk", "nearest_train_px": "nearest_train_px",
           "hue_drift_deg": "hue_drift", "radius_drift": "radius_drift"}
_SHARES = {
    "one_object_share": "one_object", "object_found_share": "found", "oracle_agreement": "correct",
    "judge_agreement": "judged_correct", "speed_plausible": "speed_plausible", "radius_plausible": "radius_plausible",
}
OF_CLASS = ("oracle_agreement", "judge_agreement", "one_object_share", "fit_residual_px", "spread_vs_real",
            "jerk_vs_real", "clips")


def confusion_with_unknown(label_N: np.ndarray, named_N: np.ndarray, classes: int, names: int) -> np.ndarray:
    """Counts (classes, names) of clips: the row is the class that was asked for, the column the one that was named."""
    return np.bincount(label_N * names + named_N, minlength=classes * names).reshape(classes, names)


def motion_figures(table: Columns, real: Columns, diagonal: float) -> dict[str, float]:
    """The figures that a table of clips allows, beside the table of real ones.

    Shares: ``one_object_share`` of clips, ``object_found_share`` of frames, ``oracle_agreement`` and
    ``judge_agreement`` of clips whose claimed class is named, ``speed_plausible`` and ``radius_plausible`` of clips.

    Medians over clips: ``fit_residual_px``, a clip without a track counting as half the ``diagonal`` of the picture;
    ``acceleration_px``, ``jerk_px`` and ``nearest_train_px`` over tracked clips; ``hue_drift_deg`` and ``radius_drift``
    within a clip, the worst where there is no track. ``spread_px`` is the mean over classes of ``motion.spread_px``.

    Against real clips: ``memory_vs_real`` is the ratio of the medians of ``nearest_train_px``. ``spread_vs_real`` and
    ``shape_spread_vs_real`` are means over classes of the ratio within the class, ``spread_vs_real_min`` its minimum.
    ``jerk_vs_real`` and ``acceleration_vs_real`` are geometric means over classes of the ratio of medians: on straight
    lines both are next to nothing, and such a ratio would outweigh all others. What cannot be computed, for want of
    tracks or clips, is missing.
    """
    numbers = {"clips": len(table["label"])}
    numbers |= {name: table[column].mean() for name, column in _SHARES.items() if column in table}
    if "fit_px" in table:
        numbers["fit_residual_px"] = np.median(np.where(np.isfinite(table["fit_px"]), table["fit_px"], diagonal / 2))
    if "track" in table:
        numbers |= _movement(table, real)
    return {name: float(value) for name, value in numbers.items()}


def by_class(table: Columns, real: Columns, diagonal: float, class_names: Sequence[str]) -> dict[str, float]:
    """``by_class/<name>/<figure>`` of the figures ``OF_CLASS``, for every class that both tables have, and the least
    ``oracle_agreement_min`` of any class."""
    numbers: dict[str, float] = {}
    for label, name in enumerate(class_names):
        own, other = (rows_of(part, part["label"] == label) for part in (table, real))
        if len(own["label"]) and len(other["label"]):
            of_class = motion_figures(own, other, diagonal)
            numbers |= {f"by_class/{name}/{figure}": of_class[figure] for figure in OF_CLASS if figure in of_class}
    agreements = [value for name, value in numbers.items() if name.endswith("/oracle_agreement")]
    return numbers | ({"oracle_agreement_min": min(agreements)} if agreements else {})


def _movement(table: Columns, real: Columns) -> dict[str, float]:
    numbers = {name: np.nanmedian(table[column]) for name, column in MEDIANS.items()
               if column in table and np.isfinite(table[column]).any()}
    usual = _median(real["nearest_train_px"])
    if "nearest_train_px" in numbers and usual > 0:
        numbers["memory_vs_real"] = numbers["nearest_train_px"] / usual
    for column in ("jerk", "acceleration"):
        ratios = _ratios(table, real, lambda part, c=column: _median(part[c]))
        if ratios:
            numbers[f"{column}_vs_real"] = np.exp(np.mean(np.log(np.maximum(ratios, 1e-9))))
    spreads = [spread_px(part["track"]) for part in _classes(table) if len(part["label"]) > 1]
    numbers |= _averaged("spread_px", spreads)
    ratios = _ratios(table, real, lambda part: spread_px(part["track"]), min_clips=2)
    numbers |= _averaged("spread_vs_real", ratios)
    if len(ratios) > 1:
        numbers["spread_vs_real_min"] = min(ratios)
    shapes = _ratios(table, real, lambda part: spread_px(part["track"], shape_alone=True), min_clips=2)
    return numbers | _averaged("shape_spread_vs_real", shapes)


def _classes(table: Columns) -> list[Columns]:
    return [rows_of(table, table["label"] == label) for label in np.unique(table["label"])]


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan


def _ratios(table: Columns, real: Columns, measure: Callable[[Columns], float], min_clips: int = 1) -> list[float]:
    """Ratios of a measure to that of real clips, for classes with at least ``least`` clips in both."""
    ratios = []
    for label in np.unique(table["label"]):
        parts = [rows_of(part, part["label"] == label) for part in (table, real)]
        if min(len(part["label"]) for part in parts) >= min_clips:
            own, other = map(measure, parts)
            if np.isfinite(own) and other > 0:
                ratios.append(own / other)
    return ratios


def _averaged(name: str, values: list[float]) -> dict[str, float]:
    return {name: float(np.mean(values))} if values else {}
