"""Damaged videos and arrays: each has to end in success or in one clear message, with nothing left half-written.

    python benchmarks/fuzz.py [--videos=1000] [--npz=300] [--first=0] [--seed=0] [--patience=60] [--show]

A file is cut off, has bits flipped, boxes or members exchanged, or numbers in its headers replaced by others (see
``mutations``); ``.npz`` files also get pickles with code in them. A data set is made of a video, and a clip of it is
read for a generator; an ``.npz`` is read as what it was: a clip, trajectories, weights in PyTorch's layout, or the
weights or golden clips of a bundle, with the SHA-256 of its config as it was or made to fit.

All of this is done in a process of its own with 8 GiB of address space. A file fails where anything but a return or a
message of this package comes out, the process dies, takes longer than ``patience`` seconds or more than 4 GiB,
something is left behind, or the code of a pickle was run. Exit code 1 if one fails.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import multiprocessing
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from mutations import ARRAY_KINDS, VIDEO_KINDS, mutated  # noqa: E402

ADDRESSES, RESIDENT = 8 << 30, 4 << 30  # bytes
CODECS = (("h264.mp4", "libx264", "yuv420p"), ("parts.mp4", "libx264", "yuv420p"), ("mpeg4.mov", "mpeg4", "yuv420p"),
          ("mjpeg.avi", "mjpeg", "yuvj420p"), ("h264.mkv", "libx264", "yuv420p"),
          ("alpha.webm", "libvpx-vp9", "yuva420p"), ("a.gif", "gif", "rgb8"), ("h265.mp4", "libx265", "yuv420p"),
          ("qtrle.mov", "qtrle", "argb"))
ARRAYS = ("clip.npz", "clip.npy", "tracks.npz", "state.npz", "weights.npz", "golden.npz")


@dataclasses.dataclass(frozen=True)
class Case:
    """One damaged file: ``number`` of the group "video" or "npz", made of the sound file ``base`` by a ``kind``."""

    group: str
    number: int
    base: str
    kind: str
    rng: random.Random

    def __str__(self) -> str:
        return f"{self.group} {self.number}: {self.base}, {self.kind}"


def draw(group: str, number: int, seed: int = 0) -> Case:
    """The case of that number."""
    rng = random.Random(f"{seed}/{group}/{number}")
    bases = [name for name, *_ in CODECS] + ["cut.mp4"] if group == "video" else ARRAYS
    base = bases[number % len(bases)]
    kinds = VIDEO_KINDS if group == "video" else ARRAY_KINDS if base != "clip.npy" else ("truncated", "bits", "headers")
    return Case(group, number, base, rng.choice(kinds), rng)


class Workshop:
    """A place with sound files, where damaged ones are tried.

    Args:
      home: a folder of its own.
    """

    def __init__(self, home: pathlib.Path):
        self.sound, self.place, self.canary = home / "sound", home / "place", home / "canary"

    def make_sound_files(self) -> None:
        """Makes what is damaged then; once, before any is."""
        self.sound.mkdir(parents=True)
        self._make_videos()
        self._make_arrays()

    def try_case(self, case: Case) -> tuple[str, str]:
        """"success", "refused" or "failed", and what was said or what went wrong."""
        from videogvt.core.mistakes import is_mistake, message

        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        content = mutated((self.sound / case.base).read_bytes(), case.kind, case.rng, str(self.canary))
        ended, said = "success", []
        for attempt in self._attempts(case, content):
            try:
                with warnings.catch_warnings(action="ignore"):
                    attempt()
            except BaseException as error:
                told = message(error) if isinstance(error, Exception) and is_mistake(error) else ""
                if len(told) < 20 or "Traceback" in told:
                    return "failed", "".join(traceback.format_exception(error))
                ended, said = "refused", [*said, told]
        wrong = [f"left behind: {path}" for path in self.place.rglob("incomplete.*")]
        finished = list(self.place.glob("out/*/*/*/dataset_info.json"))
        wrong += [f"half-written: {path}" for path in self.place.glob("out/*/*/[0-9]*") if not finished]
        wrong += ["the code of a pickle was run"] * self.canary.exists()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        wrong += [f"{peak >> 20} MiB were in memory"] * (peak > RESIDENT)
        return ("failed", "; ".join(wrong)) if wrong else (ended, " | ".join(said))

    def _attempts(self, case: Case, content: bytes) -> Iterator[Callable[[], object]]:
        from videogvt.inputs.given import read_given
        from videogvt.inputs.tracks import read_tracks, split_tracks
        from videogvt.nn import state_dicts
        from videogvt.pretrained.bundle import read_bundle, read_golden

        if case.group == "video":
            path = self.place / "in" / case.base
            path.parent.mkdir()
            path.write_bytes(content)
            yield lambda: self._built(path.parent)
            yield lambda: read_given(path, 4, 16, 16)
            return
        path = self.place / case.base
        if case.base in ("weights.npz", "golden.npz"):
            shutil.copytree(self.sound / "bundle", self.place, dirs_exist_ok=True)
            path.write_bytes(content)
            if case.rng.random() < 0.8:
                config = json.loads((self.place / "config.json").read_text())
                config["sha256"][case.base] = hashlib.sha256(content).hexdigest()
                (self.place / "config.json").write_text(json.dumps(config))
        path.write_bytes(content)
        yield {
            "clip.npz": lambda: read_given(path, 4, 16, 16), "clip.npy": lambda: read_given(path, 4, 16, 16),
            "tracks.npz": lambda: split_tracks(read_tracks(path)), "golden.npz": lambda: read_golden(self.place),
            "weights.npz": lambda: read_bundle(self.place),
            "state.npz": lambda: state_dicts.convert(
                _dense(), (1, 4), state_dicts.read_state_dict(str(path), "Fetch it."), "a layer"),
        }[case.base]

    def _built(self, folder: pathlib.Path) -> None:
        from videogvt.inputs.sources import RecordSource
        from videogvt.inputs.videos import VideoFolderConfig, prepared_videos

        config = VideoFolderConfig(folder=folder, num_frames=4, height=16, width=16, fps=25.0, short="repeat",
                                   shares=(("train", 1.0),))
        source = RecordSource(prepared_videos(config, self.place / "out", workers=1).data_dir, "train", ("video", "id"))
        source.read(range(len(source)))

    def _make_videos(self) -> None:
        import av

        for name, codec, pixels in CODECS:
            options = {"movflags": "frag_keyframe+empty_moov"} if name == "parts.mp4" else {}
            with av.open(str(self.sound / name), "w", options=options) as container:
                more = {"x265-params": "log-level=none"} if codec == "libx265" else {}
                stream = container.add_stream(codec, rate=25, options={"g": "6", **more})
                stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
                for time_ in range(16):
                    rows, columns = np.mgrid[:48, :64]
                    picture = np.stack([5 * rows + time_, 4 * columns, 16 * time_ + 0 * rows], -1).astype(np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
                container.mux(stream.encode())
        with av.open(str(self.sound / "h264.mp4")) as given, av.open(str(self.sound / "cut.mp4"), "w") as made:
            stream = given.streams.video[0]
            copy, shift = made.add_stream_from_template(stream), round(0.1 / stream.time_base)
            for packet in given.demux(stream):
                if packet.dts is not None:
                    packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                    made.mux(packet)

    def _make_arrays(self) -> None:
        from videogvt.pretrained.bundle import write_bundle

        rng = np.random.default_rng(0)
        np.savez_compressed(self.sound / "clip.npz", video=rng.integers(0, 256, (5, 20, 24, 3), np.uint8))
        np.save(self.sound / "clip.npy", rng.random((5, 20, 24, 3), np.float32))
        np.savez(self.sound / "tracks.npz", trajectories=rng.normal(size=(24, 8, 2)), labels=np.arange(24) % 2,
                 class_names=np.array(["left", "right"]))
        state = {"weight": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(3, np.float32)}
        np.savez(self.sound / "state.npz", **state)
        params = {"encoder": {"kernel": rng.normal(size=(4, 6)), "bias": np.zeros(6)}, "codebook": np.ones((8, 2))}
        (self.sound / "bundle").mkdir()
        write_bundle(self.sound / "bundle", {"tokenizer": {}}, params, {"codes": np.zeros((2, 4), np.int32)}, "card")
        for name in ("weights.npz", "golden.npz"):
            shutil.copy(self.sound / "bundle" / name, self.sound / name)


def _dense():
    import flax.linen as nn

    return nn.Dense(3)


def serve(pipe, home: pathlib.Path, seed: int) -> None:
    """A worker's life: try case after case until the caller hangs up."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    sys.stderr = io.StringIO()  # progress and notes
    workshop = Workshop(home)
    while (asked := pipe.recv()) is not None:
        pipe.send(workshop.try_case(draw(*asked, seed)))


class Worker:
    """A process that tries cases; a new one where it has died."""

    def __init__(self, home: pathlib.Path, seed: int, patience: float):
        self.home, self.seed, self.patience, self.process = home, seed, patience, None

    def try_case(self, case: Case) -> tuple[str, str]:
        """See ``Workshop.try_case``."""
        if self.process is None:
            self.pipe, theirs = multiprocessing.get_context("spawn").Pipe()
            self.process = multiprocessing.get_context("spawn").Process(
                target=serve, args=(theirs, self.home, self.seed), daemon=True)
            self.process.start()
            theirs.close()
        try:
            self.pipe.send((case.group, case.number))
            if self.pipe.poll(self.patience):
                return self.pipe.recv()
            said = f"no end within {self.patience:g} s"
        except (EOFError, ConnectionError):
            self.process.join(5)
            said = f"the process ended with {self.process.exitcode}"
        self.process.kill()
        self.process = None
        return "failed", said


    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.pipe.send(None)
            self.process.join(10)
            self.process.kill()


def main(arguments: list[str] | None = None) -> int:
    """Tries all, prints what fails and a table of counts; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("videos", 1000), ("npz", 300), ("first", 0), ("seed", 0), ("patience", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--show", action="store_true", help="print every message")
    flags = parser.parse_args(arguments)
    counts, began = Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        Workshop(pathlib.Path(folder)).make_sound_files()
        worker = Worker(pathlib.Path(folder), flags.seed, flags.patience)
        for group, count in (("video", flags.videos), ("npz", flags.npz)):
            for number in range(flags.first, flags.first + count):
                case = draw(group, number, flags.seed)
                ended, said = worker.try_case(case)
                counts[group, case.kind, ended] += 1
                if ended == "failed" or flags.show:
                    print(f"{case}\n    {ended} {said}", flush=True)
        worker.close()
    ends = ("success", "refused", "failed")
    for group, kinds in (("video", VIDEO_KINDS), ("npz", ARRAY_KINDS)):
        for kind in kinds:
            print(f"{group:6}{kind:10}" + "".join(f"{ended} {counts[group, kind, ended]:4}  " for ended in ends))
    failed = sum(count for (*_, ended), count in counts.items() if ended == "failed")
    print(f"{sum(counts.values())} files in {time.monotonic() - began:.0f} s, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
