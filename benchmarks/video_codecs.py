"""A tokenizer of real videos beside H.264 and H.265 at the same bits, and beside the clip's mean frame.

    python run.py --config=configs/vqvae_videos.py --config.data.options.folder=DIR
    python benchmarks/video_codecs.py runs/vqvae_videos [--split=test] [--data_dir=DIR]

Prints a Markdown table of PSNR and SSIM, the means over the clips of the split, with a table for each file where there
are several. The tokenizer's bits are those of codes of fixed length, log2 K each. x264 and x265 (PyAV's, preset
slow, constant rate factor) encode every clip by itself, in 4:2:0 and 4:4:4; of what takes no more bits than the
clip's codes, the one of highest PSNR counts. Where nothing takes so few, the smallest one counts, with its bits. Bits
are those of slices: start codes, parameter sets and messages are not counted. The mean frame is a whole picture in full
precision, for which no bits are stated.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import av
import numpy as np

from videogvt.evals.baselines import mean_frame
from videogvt.jobs.experiment import open_for_evaluation
from videogvt.ops import quality
from videogvt.pretrained import VideoTokenizer

CODECS = {"H.264": ("libx264", "h264"), "H.265": ("libx265", "hevc")}  # encoder and decoder
OPTIONS = {"libx264": {}, "libx265": {"x265-params": "log-level=none:pools=none:frame-threads=1"}}  # one thread
FORMATS = ("yuv420p", "yuv444p")
SMALLEST = 64  # pixels: x265 breaks the memory of the process with narrower frames in 4:4:4
WORST = 51  # constant rate factor of the fewest bits; 0 is that of the most


@dataclasses.dataclass(frozen=True)
class Coded:
    """A clip after a codec: its bits and what is shown, uint8 (T, H, W, 3)."""

    bits: int
    video_THWC: np.ndarray


def slice_bits(stream: bytes, codec: str) -> int:
    """Bits of the slices in a byte stream (Annex B) of "h264" or "hevc"; whatever else it holds is not counted."""
    bits = 0
    for unit in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
        slices = 1 <= unit[0] & 31 <= 5 if codec == "h264" else unit[0] >> 1 & 63 < 32
        bits += 8 * len(unit) * slices
    return bits


def coded(video_THWC: np.ndarray, name: str, factor: int, pixels: str) -> Coded:
    """A uint8 clip through a codec of ``CODECS``, at a constant rate factor and in a format of pixels."""
    encoder, decoder = CODECS[name]
    context = av.CodecContext.create(encoder, "w")
    context.height, context.width = video_THWC.shape[1:3]
    context.pix_fmt, context.time_base, context.framerate = pixels, Fraction(1, 25), Fraction(25)
    context.thread_count = 1
    context.options = {"crf": str(factor), "preset": "slow", **OPTIONS[encoder]}
    frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24") for frame_HWC in video_THWC]
    for number, frame in enumerate(frames):
        frame.pts = number
    packets = [packet for frame in (*frames, None) for packet in context.encode(frame)]
    reader = av.CodecContext.create(decoder, "r")
    shown = [frame for packet in (*packets, None) for frame in reader.decode(packet)]
    video = np.stack([frame.to_ndarray(format="rgb24") for frame in sorted(shown, key=lambda frame: frame.pts)])
    return Coded(slice_bits(b"".join(map(bytes, packets)), decoder), video)


def at_most(video_THWC: np.ndarray, name: str, bits: float) -> Coded:
    """The best that a codec makes of a clip with so many bits, or its smallest where it needs more."""
    found = []
    for pixels in FORMATS:
        low, high, best = 0, WORST, coded(video_THWC, name, WORST, pixels)
        while best.bits <= bits and low < high:  # the finest factor in [low, high] that takes no more bits
            middle = (low + high) // 2
            tried = coded(video_THWC, name, middle, pixels)
            if tried.bits <= bits:
                high, best = middle, tried
            else:
                low = middle + 1
        found.append(best)
    fitting = [each for each in found if each.bits <= bits]
    if not fitting:
        return min(found, key=lambda each: each.bits)
    return max(fitting, key=lambda each: _measures(video_THWC[None], each.video_THWC[None])[0, 0])


def _measures(original_BTHWC: np.ndarray, video_BTHWC: np.ndarray) -> np.ndarray:
    """PSNR and SSIM of clips, (B, 2)."""
    pair = [np.float32(video) / (255 if video.dtype == np.uint8 else 1) for video in (video_BTHWC, original_BTHWC)]
    return np.stack([np.asarray(measure(*pair).mean(axis=1)) for measure in (quality.psnr, quality.ssim)], axis=1)


def compare(tokenizer: VideoTokenizer, video_BTHWC: np.ndarray) -> Mapping[str, np.ndarray]:
    """By the name of what is compared (B, 3): PSNR, SSIM and bits of every clip; NaN where no bits are stated."""
    codes_Bthw = tokenizer.codes(video_BTHWC)
    bits = codes_Bthw[0].size * np.log2(tokenizer.num_codes)
    rows = {"tokenizer": _with_bits(video_BTHWC, tokenizer.video(codes_Bthw), bits)}
    for name in CODECS:
        clips = [at_most(video_THWC, name, bits) for video_THWC in video_BTHWC]
        rows[name] = _with_bits(video_BTHWC, np.stack([each.video_THWC for each in clips]),
                                np.array([each.bits for each in clips]))
    return rows | {"mean frame": _with_bits(video_BTHWC, mean_frame(video_BTHWC), np.nan)}


def _with_bits(original_BTHWC, video_BTHWC, bits_B) -> np.ndarray:
    measured_B2 = _measures(original_BTHWC, video_BTHWC)
    return np.column_stack([measured_B2, np.broadcast_to(bits_B, len(measured_B2))])


def tables(rows: Mapping[str, np.ndarray], ids: Sequence[str], pixels: int) -> Iterator[str]:
    """Markdown of all clips together and, where they are of several files, of each file.

    Args:
      rows: of ``compare``.
      ids: of the clips: file, #, number.
      pixels: of a clip.
    """
    files = np.array([name.rpartition("#")[0] for name in ids])
    names = sorted(set(files))
    for title in ("all", *(names if len(names) > 1 else ())):
        mask_B = np.full(len(files), True) if title == "all" else files == title
        yield f"\n{title}: {mask_B.sum()} clips\n"
        yield "| | PSNR, dB | SSIM | bits a clip | bits a pixel |\n|---|---|---|---|---|"
        for name, values_B3 in rows.items():
            psnr, ssim, bits = values_B3[mask_B].mean(axis=0)
            cost = "– | –" if np.isnan(bits) else f"{bits:,.0f} | {bits / pixels:.3f}"
            yield f"| {name} | {psnr:.2f} | {ssim:.3f} | {cost} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=pathlib.Path, help="of a tokenizer's run that is finished")
    parser.add_argument("--split", default="test", help="test for figures to report, validation to choose by")
    parser.add_argument("--data_dir", help="root of the data sets; without it the environment's")
    parser.add_argument("--clips", type=int, help="only the first so many of the split")
    flags = parser.parse_args(arguments)
    path = flags.workdir / "config.json"
    if not path.exists():
        sys.exit(f"{flags.workdir} holds no run: config.json is missing. Name the directory of a tokenizer's run.")
    tokenizer = VideoTokenizer.load(flags.workdir)
    source = open_for_evaluation(json.loads(path.read_text()), flags.split, ("video", "id"), flags.data_dir)
    batch = source.read(range(min(len(source), flags.clips or len(source))))
    if min(batch["video"].shape[2:4]) < SMALLEST:
        size = " x ".join(map(str, batch["video"].shape[2:4]))
        sys.exit(f"The clips are of {size} pixels; x265 needs {SMALLEST} each way. Train with larger "
                 "data.options.height and width.")
    pixels = int(np.prod(batch["video"].shape[1:4]))
    print(f"{flags.workdir}, {flags.split}")
    print("\n".join(tables(compare(tokenizer, batch["video"]), batch["id"], pixels)))


if __name__ == "__main__":
    main()
