"""The clips of a report on reconstructions: which were chosen and how, as cards of the page and as one picture."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from videogvt.report import images, page
from videogvt.report.clips import labelled_strips
from videogvt.report.images import animation, difference, spread, strip, webp
from videogvt.report.runs import Arrays, Run

GAIN = 4.0  # of the differences in the strips
CHOICES = {
    "best": "smallest error", "median": "in the middle", "worst": "largest error",
    "first": "first of the split, chosen by nothing",
}
"""How clips were chosen, in the order in which they are shown; clips are ranked by track error, then by PSNR."""


def sections(run: Run, name: str, clips: int) -> Iterator[str]:
    """The section of one evaluator's chosen clips, so many of each choice."""
    files = run.files.get(name, {})
    if name == "validation" or "choice" not in files.get("samples", {}):
        return
    samples, cards = files["samples"], []
    for choices, row in distinct(samples, clips):
        how = ", ".join(f"{choice} ({CHOICES[choice]})" for choice in choices)
        cards.append(page.heading(f"{how}: {', '.join(_describe(samples, row))}"))
        cards.append(_card(samples, row))
    rule = "their mean track error, then by PSNR" if _tracked(samples) else "PSNR"
    note = (f"Strips: original, reconstruction, and their difference {GAIN:g} times enlarged, white where they are "
            f"equal; animations side by side at half speed. Clips are ranked by {rule}.")
    yield page.section(f"Clips: {name}", page.paragraph(note, "note"), *cards)


def first_clips(run: Run) -> Figure | None:
    """Originals and reconstructions of a clip of each choice; None when the run left no clips."""
    for name in run.evaluators:
        samples = run.files.get(name, {}).get("samples", {})
        if "choice" in samples:
            clips = [("\n".join([", ".join(choices), *_describe(samples, row)]),
                      (samples["original"][row], samples["reconstruction"][row]))
                     for choices, row in distinct(samples, 1)]
            title = f"{run.name}: clips of {name} and their reconstructions"
            return labelled_strips(clips, title, ("original", "reconstruction"))
    return None


def distinct(samples: Arrays, clips: int) -> list[tuple[tuple[str, ...], int]]:
    """Rows of at most so many clips of each choice, every clip once, with all the choices that fell on it: of a split
    of few clips the best is the first and the median as well."""
    rows: dict[int, int] = {}
    choices: dict[int, list[str]] = {}
    for choice in CHOICES:
        for row in np.flatnonzero(samples["choice"] == choice)[:clips].tolist():
            index = int(samples["index"][row])
            rows.setdefault(index, row)
            choices.setdefault(index, []).append(choice)
    return [(tuple(choices[index]), row) for index, row in rows.items()]


def _describe(samples: Arrays, row: int) -> list[str]:
    """Which clip it is and how well it was reconstructed."""
    words = [str(samples["id"][row]), f"{samples['psnr'][row]:.1f} dB"]
    if _tracked(samples) and np.isfinite(samples["track_error_px"][row]).any():
        words.append(f"{np.nanmean(samples['track_error_px'][row]):.2f} px off")
        words.append(f"found in {samples['found'][row].sum()} of {samples['found'].shape[1]} frames")
    return words


def _tracked(samples: Arrays) -> bool:
    return "track_error_px" in samples and bool(np.isfinite(samples["track_error_px"]).any())


def _card(samples: Arrays, row: int) -> str:
    original, reconstruction = samples["original"][row], samples["reconstruction"][row]
    videos = [original, reconstruction, difference(original, reconstruction, GAIN)]
    size = original.shape[2]
    fps = float(samples["fps"][row]) if "fps" in samples else 12.0
    clip = animation(videos, fps, max(1, 208 // size), max_bytes=250_000)
    blocks = [page.html_picture(clip, "original, reconstruction and difference, animated")]
    if "original_track" in samples:
        overlay = images.track_overlay(original, samples["original_track"][row], samples["track"][row], 2.1)
        blocks.append(page.html_picture(images.as_png(overlay), "tracks of original and reconstruction"))
    frames = strip(videos, spread(len(original), 8), max(1, 128 // size))
    return page.row(*blocks) + page.html_picture(webp(frames, max_bytes=150_000), "frames of the three", frame=False)
