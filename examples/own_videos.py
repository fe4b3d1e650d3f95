"""A video of yours as codes, the video that the codes give back, and a picture of both.

    pip install -e '.[video]'
    python examples/own_videos.py my.mp4                       # writes codes.npy, back.mp4 and both.png
    python examples/own_videos.py my.mp4 runs/vqvae_videos     # by a tokenizer of your own

The tokenizers that ship know trajectories alone and say so where they show a clip badly; docs/models.md has them all,
``configs/vqvae_videos.py`` trains one on a folder of videos.
"""

import sys

import numpy as np
from PIL import Image

import videogvt
from videogvt.core.mistakes import reported


def main(path: str, run: str = "local64_8x4x4") -> None:
    """Writes the three files into the folder that the script is called in."""
    tokenizer = videogvt.VideoTokenizer.load(run)
    clip = videogvt.read_clip(path, tokenizer)  # uint8 (1, T, H, W, 3), of the size and rate that it knows
    codes = tokenizer.codes(clip)  # int32 (1, t, h, w)
    back = tokenizer.video(codes)  # float32 (1, T, H, W, 3) in [0, 1]
    np.save("codes.npy", codes)
    videogvt.write_clip("back.mp4", back, fps=tokenizer.pace.fps or 24, scale=4)
    rows = [np.concatenate(video[0, ::4], axis=1) for video in (clip, np.round(255 * back).astype(np.uint8))]
    Image.fromarray(np.concatenate(rows)).save("both.png")  # every fourth frame, above what the codes say of it
    print(f"{path}: {codes.size} codes of {tokenizer.num_codes}; codes.npy, back.mp4, both.png")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    with reported():
        main(*sys.argv[1:])
