"""The charts of a study agree on which colour a row has."""

import numpy as np
import pytest

from videogvt.report.study_figures import confidence, efficiency, robustness

POINTS = {"tracks": [(200, 0.9, 0.8, 1.0)], "codes": [(200, 0.5, 0.4, 0.6)], "oracle": [(0, 1.0, 1.0, 1.0)]}


def colours(axes):
    handles, labels = axes.get_legend_handles_labels()
    handles = [getattr(handle, "lines", [handle])[0] for handle in handles]
    return {label.split(",")[0]: handle.get_color() for handle, label in zip(handles, labels) if label != "chance"}


@pytest.mark.parametrize("order", [("tracks", "codes", "oracle"), ("codes", "oracle", "tracks")])
def test_a_row_has_one_colour_in_all_charts(order):
    first = colours(efficiency(POINTS, 0.2).axes[0])
    bins = {row: {"confidence": np.array([0.5, 1.0]), "accuracy": np.array([0.4, 0.9]),
                  "coverage": np.array([0.5, 1.0])} for row in order}
    curves = {row: {"noise": {"levels": [0.0, 0.1], "accuracy": [1.0, 0.5]}} for row in order}
    assert set(first) == set(order) and len(set(first.values())) == 3
    assert colours(confidence(bins, bins).axes[1]) == first
    assert colours(robustness(curves).axes[-1]) == first
