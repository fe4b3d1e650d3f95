"""Random streams: counter-based, one per purpose, fixed by (seed, split, index) alone."""

import hashlib

import numpy as np


def stream(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """A Philox generator that depends on nothing but its arguments.

    Streams of different purposes are independent, so a new purpose never shifts the draws of another.
    """
    digest = hashlib.sha256(f"{seed}/{split}/{index}/{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
