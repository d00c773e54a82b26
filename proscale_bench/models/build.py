"""Models from a schedule and a backbone's name."""

from __future__ import annotations

import torch

from proscale_bench.config.architecture import FEATURE_STRIDES, Architecture, get_architecture
from proscale_bench.models.backbones import build_backbone
from proscale_bench.models.encoders.staged import StagedEncoder
from proscale_bench.models.mask2former import Mask2Former
from proscale_bench.models.masked_decoder import MaskedDecoder
from proscale_bench.specs.encoders.staged import Schedule

# By `Schedule.encoder`. A new encoder is a new file beside `staged.py` and a line here.
ENCODERS = {
    "mask2former": StagedEncoder,
    "proscale": StagedEncoder,
}


def build_model(
    schedule: Schedule,
    backbone: str = "resnet50",
    num_classes: int | None = None,
    num_queries: int | None = None,
    *,
    device: str | torch.device = "cpu",
    drop_path: float = 0.0,
) -> Mask2Former:
    """The model of a schedule on a backbone, freshly initialised, in eval mode.

    Args:
        schedule: what the encoder does.
        backbone: a name of `config.architecture.ARCHITECTURES`.
        num_classes: without "no object"; 133 by default.
        num_queries: 100 by default, 200 for swin_l.
        device: where it is built; `meta` takes no memory.
        drop_path: in training, the rate of a Swin's last block: see `backbones.SwinBackbone`.

    Raises:
        BenchError: unknown backbone.
    """
    architecture = get_architecture(backbone, num_classes, num_queries)
    return build_from_architecture(schedule, architecture, device=device, drop_path=drop_path)


def build_from_architecture(
    schedule: Schedule, architecture: Architecture, *, device: str | torch.device = "cpu", drop_path: float = 0.0
) -> Mask2Former:
    """The same, from dimensions of one's own."""
    head = architecture.head
    channels = dict(zip(FEATURE_STRIDES, architecture.backbone.channels, strict=True))
    with torch.device(device):
        model = Mask2Former(
            build_backbone(architecture.backbone, drop_path),
            ENCODERS[schedule.encoder](schedule, head, channels),
            MaskedDecoder(head),
        )
    return model.eval()
