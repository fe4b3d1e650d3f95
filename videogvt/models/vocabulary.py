"""The ids a transformer reads: codes, then classes, then the unconditional class, then special tokens.

The layout is that of MAGVIT (arXiv 2212.05199) as its authors released it. There, special tokens
are negative ids that wrap around to the end of the embedding table; here every id is explicit and non-negative.

============================  =======================  ==================================================
ids                           single task              multitask
============================  =======================  ==================================================
0 .. K-1                      codes                    codes
K .. K+num_classes-1          classes                  classes
K+num_classes                 unconditional            unconditional
the last 1 or 16, up to V-1   mask                     pad V-15, task tokens V-7..V-3, sep V-2, mask V-1
============================  =======================  ==================================================
"""

import numbers
from dataclasses import dataclass

from videogvt.core.registry import unknown_name

FROM_END = {
    "full_generation": 3, "frame_prediction": 4, "frame_interpolation": 5, "outpainting": 6, "inpainting": 7,
}
"""Families of tasks that have a token of their own, and its place counted back from the end of the vocabulary."""


@dataclass(frozen=True)
class Vocabulary:
    """Every id of a transformer over codes.

    Attributes:
      num_codes: K, codes of the tokenizer.
      num_classes: labels of the data; 0 where it has none, and every sample is unconditional.
      multitask: whether the prefix starts with a task token, which takes 16 special ids in place of 1.
      classless: whether there is an unconditional class. MaskGIT's vocabulary (arXiv 2202.04200) has none, and begins
        its special tokens one id earlier.
    """

    num_codes: int
    num_classes: int = 0
    multitask: bool = False
    classless: bool = True

    def __post_init__(self):
        if self.num_codes < 1 or self.num_classes < 0:
            raise ValueError(
                "A vocabulary has at least 1 code and at least 0 classes; found "
                f"num_codes={self.num_codes}, num_classes={self.num_classes}.")

    @property
    def size(self) -> int:
        """V, rows of the embedding table."""
        return self.num_codes + self.num_classes + self.classless + (16 if self.multitask else 1)

    @property
    def unconditional(self) -> int:
        """The class token of samples whose class is unknown, or is not to be used.

        Raises:
          ValueError: there is none.
        """
        if not self.classless:
            raise ValueError("This vocabulary has no token for samples without a class, which guidance and tasks "
                             "without one need. Ask for a class, and leave guidance at 0.")
        return self.num_codes + self.num_classes

    @property
    def mask(self) -> int:
        """The token of a position whose code is to be found."""
        return self.size - 1

    @property
    def sep(self) -> int:
        """Ends a prefix of condition tokens; multitask only."""
        return self._special("sep", 2)

    @property
    def pad(self) -> int:
        """Fills sequences up to their length; multitask only."""
        return self._special("pad", 15)

    @property
    def prefix_length(self) -> int:
        """P, tokens before the codes: [task, class] or [class], where "class" may be the unconditional one."""
        return 2 if self.multitask else 1

    def task(self, family: str) -> int:
        """The token of a family of tasks, a key of ``FROM_END``; multitask only."""
        if family not in FROM_END:
            raise ValueError(unknown_name("task family", family, FROM_END))
        return self._special(f"task token of {family}", FROM_END[family])

    def label(self, label):
        """The class token of a label in 0..num_classes-1; a negative label is the unconditional class.

        Args:
          label: an integer, or an integer array (numpy or jax, traced or not; 32 bits) of any shape.

        Returns:
          An integer or an array like ``label``. In an array a label that is too large, which a traced computation
          could not report, becomes V, an id that does not exist: the transformers answer it with nan. So does a
          negative one where there is no unconditional class.

        Raises:
          ValueError: an integer is too large.
        """
        beyond, unknown = label >= self.num_classes, label < 0
        if isinstance(label, numbers.Integral) and beyond:
            legal = f"0..{self.num_classes - 1}" if self.num_classes else "none, as it has no classes"
            raise ValueError(
                f"Found label {label}; the labels of this vocabulary are {legal}. Pass -1 for the unconditional class.")
        if isinstance(label, numbers.Integral):
            return self.unconditional if unknown else label + self.num_codes
        without = self.unconditional if self.classless else self.size
        known = (label + self.num_codes) * (1 - beyond) * (1 - unknown)
        return known + without * unknown + self.size * beyond

    def _special(self, name: str, from_end: int) -> int:
        if not self.multitask:
            raise ValueError(
                f"A vocabulary for one task has no {name}: its only special token is the mask. "
                "Build it with multitask=True.")
        return self.size - from_end
