"""What files for other machines cost: sizes, times at batch 1, and what halves and eight bits lose on test clips.

    python benchmarks/portable.py [--source=maskgvt64_8x4x4] [--clips=64] [--repeats=20] [--budget=60]
        [--formats=stablehlo,onnx] [--data_dir=DIR] [--output=FILE.json]

A generator is measured with its tokenizer. For float32, float16 and int8 weights and both formats (ONNX where jax2onnx
and onnxruntime are installed): megabytes; encode, decode and step of one clip, as the ratio of medians to this
package's own compiled function, calls in turn; and on the first clips of `test`, the share of codes that are those of
float32, PSNR of the reconstruction, and nats of codes that are hidden, half of each clip, given the others and its
class. Losses are measured by this package with the rounded weights, once for all formats, which hold the same;
``--formats=`` measures nothing else.
"""

import argparse
import importlib.util
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from videogvt.core.registry import unknown_name  # noqa: E402
from videogvt.inputs.sources import open_source  # noqa: E402
from videogvt.pretrained.portable import PortablePart, as_stablehlo, load_converter, parts_of  # noqa: E402
from videogvt.pretrained.rounding import ROUNDINGS, size, unrounded  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.journal import environment  # noqa: E402
from videogvt.train.timing import alternate  # noqa: E402

Run = Callable[..., np.ndarray]
FORMATS = ("stablehlo", "onnx")
HEADINGS = ("weights", "format", "MB", "encode", "decode", "step", "same codes", "PSNR", "nats")


def formats(names: Sequence[str]) -> dict[str, Callable[[PortablePart], tuple[int, Run]]]:
    """By name: from a part to the bytes of its file and a function that runs it."""
    if unknown := [name for name in names if name not in FORMATS]:
        raise ValueError(unknown_name("format", unknown[0], FORMATS))

    def stablehlo(part: PortablePart) -> tuple[int, Run]:
        data = as_stablehlo(part)
        call = jax.jit(jax.export.deserialize(bytearray(data)).call)
        return len(data), lambda *inputs: np.asarray(call(*inputs))

    found = {name: make for name, make in (("stablehlo", stablehlo),) if name in names}
    if "onnx" not in names:
        return found
    if not (importlib.util.find_spec("jax2onnx") and importlib.util.find_spec("onnxruntime")):
        print("ONNX is left out: jax2onnx and onnxruntime are not both installed (docs/export.md).")
        return found
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    convert = load_converter()

    def onnx(part: PortablePart) -> tuple[int, Run]:
        data = convert(part)
        session = onnxruntime.InferenceSession(data)
        return len(data), lambda *inputs: session.run(None, dict(zip(part.inputs, inputs)))[0]

    return found | {"onnx": onnx}


def own(part: PortablePart) -> Callable[[Any], Run]:
    """From rounded weights to the function as this package compiles it, once for all weights."""
    compiled = jax.jit(part.function.get(jax.default_backend(), part.function["default"]))

    def with_weights(rounded: Any) -> Run:
        params = jax.device_put(unrounded(rounded))
        return lambda *inputs: np.asarray(compiled(params, *inputs))

    return with_weights


def nats(step: Run, mask: int, codes_Nthw: np.ndarray, label_N: np.ndarray) -> float:
    """Of hidden codes, half of each clip, drawn alike whatever is measured."""
    rng, found = np.random.default_rng(0), []
    for codes_N, label in zip(codes_Nthw.reshape(len(codes_Nthw), -1), label_N):
        hidden_N = rng.random(codes_N.shape) < 0.5
        logits_NK = step(np.where(hidden_N, mask, codes_N)[None].astype(np.int32), np.array([label], np.int32))[0]
        chances_NK = logits_NK - np.logaddexp.reduce(logits_NK, -1, keepdims=True)
        found.append(-np.take_along_axis(chances_NK, codes_N[:, None], -1)[hidden_N, 0].mean())
    return float(np.mean(found))


def quality(
    runs: dict[str, Run], parts: dict[str, PortablePart], rows: dict[str, np.ndarray], known: np.ndarray | None
):
    """Figures of one kind of weights, and its codes; ``known`` are those of float32."""
    videos = [clip[None] / np.float32(255) for clip in rows["video"]]
    codes = np.concatenate([runs["encode"](video) for video in videos])
    errors = [np.square(runs["decode"](one[None]) - video).mean((2, 3, 4)) for one, video in zip(codes, videos)]
    figures = {"same codes": float((codes == (codes if known is None else known)).mean()),
               "PSNR": float(np.mean(-10 * np.log10(np.maximum(np.concatenate(errors), 1e-10))))}
    if "step" in runs and parts["step"].facts["mask"] is not None:
        figures["nats"] = nats(runs["step"], parts["step"].facts["mask"], codes if known is None else known,
                               rows["label"])
    return figures, codes


def measure(flags: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each kind of weights and format; times are ratios to this package's own, float32."""
    kinds, found, known = formats([name for name in flags.formats.split(",") if name]), [], None
    parts_by = {weights: {part.name: part for part in parts_of(flags.source, weights)} for weights in ROUNDINGS}
    compiled = {name: own(part) for name, part in parts_by["float32"].items()}
    base = {name: compiled[name](part.params) for name, part in parts_by["float32"].items()}
    test = open_source("trajectories", "test", data_dir=flags.data_dir, config=flags.world)
    rows = test.read(range(min(flags.clips, len(test))))
    codes = base["encode"](rows["video"][:1] / np.float32(255))
    inputs = {"encode": (rows["video"][:1] / np.float32(255),), "decode": (codes,),
              "step": (codes.reshape(1, -1), rows["label"][:1].astype(np.int32))}
    calls = {name: {("own", ""): lambda run=run, name=name: run(*inputs[name])} for name, run in base.items()}
    for weights, parts in parts_by.items():
        runs = {name: compiled[name](part.params) for name, part in parts.items()}
        figures, codes = quality(runs, parts, rows, known)
        known = codes if known is None else known
        found.append({"weights": weights, "format": "alone", **figures,
                      "MB": sum(map(size, {id(part.params): part.params for part in parts.values()}.values())) / 1e6})
        for format_name, make in kinds.items():
            made = {name: make(part) for name, part in parts.items()}
            for name, (_, run) in made.items():
                calls[name][weights, format_name] = lambda run=run, name=name: run(*inputs[name])
            found.append({"weights": weights, "format": format_name, "MB": sum(n for n, _ in made.values()) / 1e6})
    for name, by_kind in calls.items() if kinds else ():
        times = alternate(by_kind, repeats=flags.repeats, budget_s=flags.budget)
        for row in (row for row in found if row["format"] in kinds):
            row[name] = times[row["weights"], row["format"]].median / times["own", ""].median
        print(f"{name}, this package: {times['own', '']}")
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="maskgvt64_8x4x4")
    parser.add_argument("--world", default="mono64")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the times of each part")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--data_dir")
    parser.add_argument("--output")
    flags = parser.parse_args(arguments)
    rows = measure(flags)
    print(as_text(HEADINGS, [[_text(name, row.get(name)) for name in HEADINGS] for row in rows]))
    if flags.output:
        about = {"source": flags.source, "clips": flags.clips, "environment": environment()}
        pathlib.Path(flags.output).write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")


def _text(name: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.2%}" if name == "same codes" else f"{value:.2f}" if name != "nats" else f"{value:.4f}"


if __name__ == "__main__":
    main()
