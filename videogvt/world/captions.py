"""Captions: one sentence of plain English about a path, in one of its family's wordings."""

import numpy as np

from videogvt.world.motion import Family


def caption(path: Family, colour: str, rng: np.random.Generator) -> str:
    """A wording of the path's family, chosen by ``rng``, with the ball's colour and the path's own figures."""
    wording = path.captions[int(rng.integers(len(path.captions)))]
    a_colour = f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
    speed = float(np.linalg.norm(path.velocity(np.zeros(1))[0]))
    radius = float(np.linalg.norm(path.radial)) if hasattr(path, "radial") else 0.0
    A_colour = a_colour.capitalize()
    return wording.format(colour=colour, a_colour=a_colour, A_colour=A_colour, speed=speed, radius=radius)
