"""Tables of final numbers."""

from videogvt.report.grids import as_text, figure_table


def test_the_run_comes_first_and_missing_figures_are_dashes():
    grid = {"background": {"psnr": 27.004, "clips": 1000.0}, "": {"psnr": 33.0, "clips": 2000.0, "new_figure": 1.5},
            "original": {"clips": 2000.0}}
    headings, lines = figure_table(grid, "mine")
    assert headings == ["", "mine", "originals", "all background"]
    assert lines == [["PSNR, dB", "33.00", "–", "27.00"], ["clips", "2,000", "2,000", "1,000"],
                     ["new figure", "1.5", "–", "–"]]


def test_text_is_aligned():
    lines = as_text(["", "a"], [["x", "10"], ["long", "2"]]).splitlines()
    assert lines == ["       a", "--------", "x     10", "long   2"]
