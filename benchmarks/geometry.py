"""Tokenizers beside each other, from the files of their runs: quality, cost, and whether their codes can be modelled.

    for variant in "" :4x8x8 :4x4x4 :cells :fsq :quality; do python run.py --config=configs/vqvae_traj.py$variant; done
    python benchmarks/geometry.py runs/vqvae_traj runs/vqvae_traj-{4x8x8,4x4x4,cells,fsq,quality}

Prints a Markdown table with a column for each run, in the order given. Nothing is trained or measured here.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Mapping

from videogvt.core.trees import frozen
from videogvt.nn.tokenizer import TokenizerNetwork

FIGURES: Mapping[str, tuple[str, str]] = {
    "PSNR, dB": ("test/psnr", "{:.2f}"),
    "all-background video, dB": ("test/background/psnr", "{:.2f}"),
    "object found": ("test/object_found_share", "{:.2%}"),
    "track error, median px": ("test/track_error_px_median", "{:.2f}"),
    "track error, 95th percentile px": ("test/track_error_px_p95", "{:.2f}"),
    "object's own pixels, MSE": ("test/object_mse", "{:.3f}"),
    "family told by the oracle, of originals'": ("test/oracle_vs_original", "{:.2%}"),
    "codes a clip": ("modelability/tokens_per_clip", "{:.0f}"),
    "codes a clip that speak": ("modelability/speaking_per_clip", "{:.1f}"),
    "blank cells with the empty code": ("modelability/empty_share", "{:.2%}"),
    "codes used where something is said": ("modelability/codes_used_speaking", "{:.0f}"),
    "their share": ("modelability/usage_speaking", "{:.1%}"),
    "their perplexity": ("modelability/perplexity_speaking", "{:.0f}"),
    "duplicates": ("modelability/duplicates", "{:.0f}"),
    "speaking codes changed by noise of 1/255": ("modelability/noise_changed_speaking", "{:.2%}"),
    "empty codes changed by it": ("modelability/noise_changed_empty", "{:.3%}"),
    "one code swapped: found": ("modelability/one_swapped/object_found_share", "{:.1%}"),
    "one code swapped: 95th percentile px": ("modelability/one_swapped/track_error_px_p95", "{:.2f}"),
    "5 % swapped: found": ("modelability/twentieth_swapped/object_found_share", "{:.1%}"),
    "5 % swapped: 95th percentile px": ("modelability/twentieth_swapped/track_error_px_p95", "{:.2f}"),
}


def column(workdir: pathlib.Path) -> dict[str, str]:
    """The lines of one run, by their names."""
    path = workdir / "eval.json"
    if not path.exists():
        sys.exit(f"{workdir} has no eval.json; expected the directory of a tokenizer's run that is finished.")
    found, config = json.loads(path.read_text()), json.loads((workdir / "config.json").read_text())
    if "eval/test/psnr" not in found:
        sys.exit(f"{path} has no figures of reconstructions of the test split; expected a tokenizer's run.")
    about, strides = found["about"], TokenizerNetwork(**frozen(config["tokenizer"])).strides
    lines = {"frames x rows x columns of a code": " x ".join(map(str, strides))}
    lines["training, minutes"] = f"{about['seconds'] / 60:.1f}"
    lines["clips seen"] = f"{about['examples']:,}"
    for name, (key, form) in FIGURES.items():
        lines[name] = form.format(found[f"eval/{key}"]) if f"eval/{key}" in found else "–"
    return lines


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Lines of Markdown."""
    heads = ["", *columns]
    rows = [[name, *(lines[name] for lines in columns.values())] for name in next(iter(columns.values()))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


def main(say: Callable[[str], None] = print) -> None:
    """Reads the runs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="directories of finished runs of tokenizers")
    say(table({run.name: column(run) for run in parser.parse_args().runs}))


if __name__ == "__main__":
    main()
