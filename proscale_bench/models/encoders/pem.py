"""PEM's pixel decoder, as a module: see the spec of the same name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from proscale_bench.models.encoders.interface import EncoderOutput, PixelEncoder
from proscale_bench.models.encoders.parts import BLOCK, to_map, to_tokens
from proscale_bench.models.position import level_extents, pixel_centres
from proscale_bench.models.sampling.embedding_bag import sample_points
from proscale_bench.specs.encoders.pem import KERNEL, OFFSETS
from proscale_bench.specs.levels import FEATURE_STRIDES, LEVELS
from proscale_bench.units import Size

COARSE_TO_FINE = (*LEVELS, "res2")


class PemEncoder(PixelEncoder):
    """From the coarsest level down: modulate, add what comes from below, convolve deformably, upsample.

    Args:
        width: channels of the decoder and of its pyramid.
        mask_width: channels of the mask features.
        channels: channels of the backbone's features, by name.
    """

    def __init__(self, width: int, mask_width: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_convolution(channels[level], width) for level in COARSE_TO_FINE)
        self.context = _convolution(channels["res5"], width)
        self.modulations = nn.ModuleList(SelfModulation(width) for _ in COARSE_TO_FINE)
        self.deformable = nn.ModuleList(_with_norm(DeformableConvolution(width), width) for _ in LEVELS)
        self.upsampling = nn.ModuleList(_with_norm(_doubling(width), width) for _ in LEVELS)
        self.mask_features = _convolution(width, mask_width)

    def least_images(self, size: Size) -> int:
        """See `PixelEncoder`: a batch norm after a global mean sees one value an image."""
        return 2

    def forward(self, features: dict[str, Tensor]) -> EncoderOutput:
        """See `PixelEncoder`.

        1. Project every level and modulate its channels by its own mean.
        2. Add what comes from below: the mean of all of res5, then the upsampled coarser level.
        3. Convolve deformably: the pyramid; and upsample for the next level.
        4. Widen stride 4 to the mask features.

        Raises:
            ValueError: a level that is not twice as large as the one below.
        """
        _check_sizes(features)
        pyramid: list[Tensor] = []
        below = self.context(features["res5"].mean((-2, -1), keepdim=True))  # [B, C, 1, 1]
        for index, (project, modulate) in enumerate(zip(self.projections, self.modulations, strict=True)):
            x = modulate(project(features[COARSE_TO_FINE[index]])).add_(below)
            if index < len(LEVELS):
                pyramid.append(self.deformable[index](x))
                below = self.upsampling[index](pyramid[-1])
        return EncoderOutput(self.mask_features(x), tuple(pyramid))


class SelfModulation(nn.Module):
    """Channels of a map weighed by its own mean: x + x * gate, where the gate lies between 0.5 and 0.731.

    (The official code takes the sigmoid twice.)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv2d(width, width // 2, kernel_size=1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 2, width, kernel_size=1, bias=False),
            nn.Sigmoid(),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to the same, in one pass over the map: x (1 + gate)."""
        gate: Tensor = self.gate(x.mean((-2, -1), keepdim=True))  # [B, C, 1, 1]
        return x * (1 + gate)


class DeformableConvolution(nn.Module):
    """A modulated 3x3 convolution whose cells look where another convolution says (DCNv2, Zhu et al. 2019).

    Offsets are 0 and weights 0.5 at the start.

    torchvision's operator runs it, but for inference on the CPU, where that takes 6 times as long as bags of pixels and
    a product with the whole kernel: see `sampling.embedding_bag`.
    """

    bias: nn.Parameter | None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sampling = "grid_sample"  # or another name of `sampling.SAMPLERS`, as `inference.use_sampling` says
        self.offset = nn.Conv2d(width, OFFSETS, kernel_size=3, padding=1)
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3))
        self.register_parameter("bias", None)  # that of a batch norm folded into it
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to the same."""
        offset, modulation = self.offset(x).split((2 * KERNEL, KERNEL), dim=1)  # (dy, dx) of cell 0, of cell 1, ...
        modulation = modulation.sigmoid()
        if self.sampling.startswith("embedding_bag") and x.device.type == "cpu" and not torch.is_grad_enabled():
            return self._by_bags(x, offset, modulation)
        # The operator takes one type, also under autocast.
        x, offset, modulation = (one.to(self.weight.dtype) for one in (x, offset, modulation))
        convolved: Tensor = deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=modulation)
        return convolved

    def _by_bags(self, x: Tensor, offset: Tensor, modulation: Tensor) -> Tensor:
        """The same but for rounding, block by block of its N places."""
        size = (x.shape[-2], x.shape[-1])
        cells = torch.tensor([(column, row) for row in (-1.0, 0.0, 1.0) for column in (-1.0, 0.0, 1.0)])
        by_cell = to_tokens(offset).reshape(len(x), -1, KERNEL, 2).flip(-1)  # [B, N, 9, (x, y)], in pixels
        locations = (by_cell + cells) / level_extents((size,), x.device) + pixel_centres(size, x.device)[:, None]
        values = to_tokens(x).contiguous()[:, :, None]  # one head that reads one level: [B, N, 1, C]
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1)  # [C, 9 * C]
        blocks = zip(*(torch.split(one, BLOCK, dim=1) for one in (locations, to_tokens(modulation))), strict=True)
        convolved = []
        for places, weights in blocks:
            samples = sample_points(values, (size,), places[:, :, None, None], weights[:, :, None, None])
            convolved.append(F.linear(samples[:, :, 0].flatten(2), kernel, self.bias))
        return to_map(torch.cat(convolved, dim=1), size)


def _convolution(channels: int, width: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(channels, width, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=1)
    return _with_norm(convolution, width)


def _doubling(width: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles a map's sides. Its first output channel begins as bilinear upsampling of
    the sum of all, the others as PyTorch's default, as the official code has them."""
    convolution = nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1, bias=False)
    slope = 1 - (torch.arange(4, device=convolution.weight.device) / 2 - 0.75).abs()  # [1/4, 3/4, 3/4, 1/4]
    with torch.no_grad():
        convolution.weight[:, 0] = slope[:, None] * slope  # [in, out, 4, 4]
    return convolution


def _with_norm(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _check_sizes(features: Mapping[str, Tensor]) -> None:
    """Sides double from level to level, as upsampling doubles them: those of the input are multiples of 32."""
    height, width = features["res5"].shape[-2:]
    for level, stride in FEATURE_STRIDES.items():
        factor = FEATURE_STRIDES["res5"] // stride
        expected, actual = (factor * height, factor * width), tuple(features[level].shape[-2:])
        if actual != expected:
            raise ValueError(
                f"{level}: expected {expected} beside res5 of {(height, width)}, got {actual}: PEM takes inputs whose"
                " sides are multiples of 32"
            )
