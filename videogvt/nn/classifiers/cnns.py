"""Two small convolution networks on pixels that earlier work compared with."""

import flax.linen as nn
import jax.numpy as jnp

from videogvt.nn.classifiers.heads import BatchNorm, Classifier, centred
from videogvt.nn.layers import Conv, Style
from videogvt.ops.conv import Lowering, max_pool


class Cnn3d(Classifier):
    """The plainest baseline: 3x3x3 convolutions, each with ReLU and a 2x2x2 maximum; everything to a dense layer.

    Attributes:
      filters: of the convolutions.
      hidden: of the dense layer.
      dropout: rate after it.
      lowering: see ``ops.conv.conv``.
    """

    filters: tuple[int, ...] = (16, 32, 64)
    hidden: int = 128
    dropout: float = 0.0
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        style = Style(padding="zero", lowering=self.lowering, **self.dtypes)
        x_BTHWC = centred(video_BTHWC, network="Cnn3d").astype(self.dtype)
        for index, features in enumerate(self.filters):
            x_BTHWC = nn.relu(Conv(features, (3, 3, 3), style, name=f"conv_{index}")(x_BTHWC))
            x_BTHWC = max_pool(x_BTHWC, (2, 2, 2))
        x_BD = nn.relu(nn.Dense(self.hidden, name="dense", **self.dtypes)(x_BTHWC.reshape(len(x_BTHWC), -1)))
        return self.heads(nn.Dropout(self.dropout)(x_BD, deterministic=not train), train=train)


class FrameCnnAttention(Classifier):
    """Convolutions on every frame, convolutions over time, self-attention over time, the mean, and heads with a hidden
    layer.

    An earlier report compares with this network under the name "MagVIT"; it has no part of MAGVIT. What that report
    leaves open is chosen here: strides of 2 and one 2x2 maximum, by which frames of 64 pixels end on 4x4 cells;
    ReLU; kernels of 3 over time; 4 heads; the residual sum before the LayerNorm. With 4 classes and 3 positions it has
    4,191,879 numbers in parameters and batch statistics.

    Attributes:
      filters: of the convolutions on frames, whose kernels are 7, 3 and 3 wide.
      width: of a frame.
      temporal: of the convolutions over time.
      num_heads: of the attention.
      hidden: of the heads.
    """

    filters: tuple[int, int, int] = (64, 128, 256)
    width: int = 512
    temporal: tuple[int, int] = (512, 256)
    num_heads: int = 4
    hidden: int = 512

    @nn.compact
    def __call__(self, video_BTHWC, *, train: bool = False):
        """Heads of videos in [0, 1]."""
        x = centred(video_BTHWC, (1, 16, 16), "FrameCnnAttention").astype(self.dtype)
        for index, (features, size) in enumerate(zip(self.filters, (7, 3, 3), strict=True)):
            half = size // 2
            x = nn.Conv(features, (size,) * 2, 2, [(half, half)] * 2, name=f"conv_{index}", **self.dtypes)(x)
            x = BatchNorm(self.dtypes, name=f"norm_{index}")(x, train=train)
            x = max_pool(x, (1, 2, 2)) if index == 0 else x
        x_BTD = nn.relu(nn.Dense(self.width, name="frame", **self.dtypes)(x.reshape(*x.shape[:2], -1)))
        for index, features in enumerate(self.temporal):
            x_BTD = nn.Conv(features, (3,), padding="SAME", name=f"time_{index}", **self.dtypes)(x_BTD)
            x_BTD = BatchNorm(self.dtypes, name=f"time_norm_{index}")(x_BTD, train=train)
        x_BTD += nn.MultiHeadDotProductAttention(
            self.num_heads, force_fp32_for_softmax=True, name="attention", **self.dtypes)(x_BTD)
        x_BTD = nn.LayerNorm(epsilon=1e-5, name="norm", **self.dtypes)(x_BTD)
        return self.heads(x_BTD.astype(jnp.float32).mean(1), self.hidden, train=train)
