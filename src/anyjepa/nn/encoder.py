"""The interface of every encoder: what objectives and evaluation call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from anyjepa.nn.packing import Packed
from anyjepa.nn.tokens import token_grid
from anyjepa.parts import Part


class EncoderConfig(Part):
    """Base of the settings of encoders, with `build`."""

    if TYPE_CHECKING:  # a subclass has these as fields, as properties or as ClassVars

        @property
        def patch(self) -> tuple[int, ...]: ...  # samples per token along each axis

        @property
        def dim(self) -> int: ...  # width D of a token

        @property
        def heads(self) -> int: ...  # attention heads of a probe on the tokens

        @property
        def causal(self) -> bool: ...  # a token sees only itself and earlier ones

        @property
        def absent(self) -> bool: ...  # channels that are NaN throughout are treated as absent

        @property
        def positions(self) -> Any: ...  # settings of positions, None if there are none

    @property
    def out(self) -> int:
        """Width of the tokens that `forward` of the encoder returns."""
        return self.dim

    @property
    def multiple(self) -> int:
        """Records are cut to a multiple of this many samples along the first axis."""
        return self.patch[0]

    def grid(self, channels: int, samples: Sequence[int]) -> tuple[int, ...]:
        """Tokens along each axis of an input (C, *samples). Raises ValueError if it does not fit the patch."""
        return token_grid(samples, self.patch)

    @abstractmethod
    def build(self, channels: int, size: Sequence[int]) -> Encoder:
        """An untrained encoder of inputs (B, channels, *size). Raises ValueError if the sizes do not fit together."""


class WholeInputConfig(EncoderConfig):
    """Base of encoders that always see the whole input, such as convolutions. Define `patch`, `dim` and `heads`."""

    causal: ClassVar[bool] = False
    absent: ClassVar[bool] = False
    positions: ClassVar[None] = None


class Encoder(nn.Module, ABC):
    """Turns an input into tokens. Subclasses define `forward`, and `features` if they have prefix tokens.

    Masked prediction also passes `keep` and `valid` to `forward`, or `shown`, and next-embedding prediction calls
    `embed`; `ViT` says what these mean.

    config: settings, with `dim`, `heads` (of a probe's attention) and `patch`, the samples per token along each axis;
    channels: C; size: samples along each axis of a full input; grid: tokens along each axis of a full input.
    """

    def __init__(self, config: Any, channels: int, size: Sequence[int], grid: Sequence[int]):
        super().__init__()
        self.config, self.channels, self.size, self.grid = config, channels, tuple(size), tuple(grid)
        self.dim: int = config.dim

    def grid_of(self, x: Tensor) -> tuple[int, ...]:
        """Tokens along each axis of an input (B, C, *samples). Raises ValueError if it does not fit the patch."""
        return self.config.grid(self.channels, x.shape[2:])

    @abstractmethod
    def forward(self, x: Tensor, *, start: Tensor | None = None) -> Packed:
        """x: (B, C, *samples) -> tokens in raster order, packed (B * N, D), without prefix tokens.

        start: (B,) the first token's place on the first axis, in tokens; None: 0. Encoders without positions ignore it.
        Raises ValueError if x does not fit.
        """

    def features(self, x: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: (B, C, *samples) -> prefix tokens (B, R, D), here none, and tokens (B, N, D)."""
        tokens = self(x, start=start).padded()
        return tokens[:, :0], tokens


def check_sees_parts(config: EncoderConfig) -> None:
    """Raise ValueError for an encoder whose tokens always depend on the whole input."""
    if isinstance(config, WholeInputConfig):
        raise ValueError(
            f"encoder.kind {config.kind} always sees the whole input, so hidden tokens would leak into visible ones; "
            "masks and causal prediction need kind vit, or an encoder of your own that leaves tokens out"
        )


def check_takes(encoder: Encoder, *names: str) -> None:
    """Raise ValueError unless an encoder's `forward` takes these arguments."""
    if missing := [name for name in names if name not in signature(encoder.forward).parameters]:
        raise ValueError(
            f"{encoder.config.kind}: its encoder's forward takes no {' and no '.join(missing)}, which says what tokens "
            "to leave out; masked prediction needs that"
        )
