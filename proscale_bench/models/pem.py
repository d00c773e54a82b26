"""All of PEM, built to be counted: our ResNet and pixel decoder, and its own transformer decoder.

The transformer decoder is read off the paper (Cavagnero et al. 2024, arXiv 2402.19422, section 3), not off code: each
query meets one token of the features, its prototype, so cross-attention is a product by elements. It has no weights to
load and no training; its count alone is meant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proscale_bench.models.build import build
from proscale_bench.models.postprocess import resize_masks, semantic
from proscale_bench.specs.encoders.pem import Pem
from proscale_bench.specs.mask2former import mask2former

LAYERS, QUERIES, WIDTH, HEADS, FFN = 6, 100, 256, 8, 2048
PYRAMID_WIDTH = 128


def pem_resnet50(classes: int = 19) -> nn.Module:
    """PEM on ResNet-50, with the post-processing of Cityscapes' panoptic task."""
    return PemModel(classes)


class PemModel(nn.Module):
    """From an image [1, 3, H, W] to the classes' scores [K, H, W] of the semantic task."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        spec = mask2former(Pem(PYRAMID_WIDTH), "resnet50", classes=classes)
        ours = build(spec, device=torch.get_default_device())
        self.backbone, self.encoder = ours.backbone, ours.encoder
        self.decoder = PrototypeDecoder(PYRAMID_WIDTH, classes)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        found = self.encoder(self.backbone(image))
        logits, masks = self.decoder(found.pyramid, found.mask_features)
        whole = (height, width)
        return semantic(logits[0], resize_masks(masks[0], padded_size=whole, image_size=whole, output_size=whole))


class PrototypeDecoder(nn.Module):
    """Six layers, each over one level of the pyramid in turn, and a prediction before the first and after each."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(channels, WIDTH, 1) for _ in range(3))
        self.queries = nn.Embedding(QUERIES, WIDTH)
        self.layers = nn.ModuleList(PrototypeLayer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.classes = nn.Linear(WIDTH, classes + 1)
        self.mask_embedding = nn.Sequential(
            *(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        )

    def forward(self, pyramid: tuple[Tensor, ...], features: Tensor) -> tuple[Tensor, Tensor]:
        levels = [project(level) for project, level in zip(self.projections, pyramid, strict=True)]
        queries = self.queries.weight[None]  # [1, Q, C]
        logits, masks = self._predict(queries, features)
        for index, layer in enumerate(self.layers):
            level = levels[index % len(levels)]
            inside = nn.functional.interpolate(masks, level.shape[-2:], mode="bilinear") > 0
            queries = layer(queries, level.flatten(2).mT, inside.flatten(2))
            logits, masks = self._predict(queries, features)
        return logits, masks

    def _predict(self, queries: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        queries = self.norm(queries)
        return self.classes(queries), torch.einsum("bqc,bchw->bqhw", self.mask_embedding(queries), features)


class PrototypeLayer(nn.Module):
    """Prototype cross-attention, self-attention, feed-forward; each after a norm and within a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.key_norm = nn.LayerNorm(WIDTH)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.interaction, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(WIDTH, FFN), nn.ReLU(), nn.Linear(FFN, WIDTH))

    def forward(self, queries: Tensor, tokens: Tensor, inside: Tensor) -> Tensor:
        """queries [1, Q, C], tokens [1, N, C], inside [1, Q, N]: the tokens in each query's mask."""
        query, keys = self.query(self.norms[0](queries)), self.key(self.key_norm(tokens))
        likeness = (query @ keys.mT).masked_fill(~inside, -torch.inf)  # [1, Q, N]
        prototypes = keys.gather(1, likeness.argmax(-1, keepdim=True).expand(-1, -1, WIDTH))  # [1, Q, C]
        queries = queries + self.out(self.interaction(query * prototypes) * self.scale + query)
        own = self.norms[1](queries)
        queries = queries + self.attention(own, own, own, need_weights=False)[0]
        found: Tensor = queries + self.ffn(self.norms[2](queries))
        return found
