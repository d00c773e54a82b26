"""Deformable attention: where heads look, what they read; positions and reference points."""

from __future__ import annotations

import math

import pytest
import torch

from proscale_bench.models.deformable_attention import DeformableAttention
from proscale_bench.models.position import level_extents, pixel_centres, sine_position

CPU = torch.device("cpu")


def test_heads_start_out_looking_around_in_steps_of_a_pixel() -> None:
    attention = DeformableAttention(width=32, heads=4, levels=2, points=3)
    offsets = attention.sampling_offsets.bias.view(4, 2, 3, 2)
    steps = torch.arange(1.0, 4.0)[:, None]
    for head, direction in enumerate([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)]):
        expected = (steps * torch.tensor(direction)).expand(2, 3, 2)
        assert torch.allclose(offsets[head], expected, atol=1e-5)
    diagonal = DeformableAttention(width=32, heads=8, levels=1, points=1).sampling_offsets.bias.view(8, 2)[1]
    assert torch.allclose(diagonal, torch.ones(2))


@torch.no_grad()
def test_fresh_attention_averages_the_pixels_around() -> None:
    """Uniform weights and known offsets: the output is the mean of the values four heads look at."""
    attention = DeformableAttention(width=4, heads=4, levels=1, points=1)
    for projection in (attention.value_proj, attention.output_proj):
        projection.weight.copy_(torch.eye(4))
    tokens = torch.arange(9.0).view(1, 9, 1).expand(1, 9, 4)  # a 3x3 level; head m has channel m
    sizes = [(3, 3)]
    values = attention.values(tokens)
    found = attention(tokens, pixel_centres(sizes[0], CPU), values, sizes, level_extents(tuple(sizes), CPU))
    assert torch.allclose(found[0, 4], torch.tensor([5.0, 7.0, 3.0, 1.0]), atol=1e-4)  # right, below, left, above


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 32 channels"):
        DeformableAttention(width=32, heads=3, levels=1, points=4)


def test_pixel_centres_and_extents_are_x_then_y() -> None:
    assert torch.allclose(pixel_centres((1, 2), CPU), torch.tensor([[0.25, 0.5], [0.75, 0.5]]))
    assert torch.equal(level_extents(((3, 5), (1, 4)), CPU), torch.tensor([[5.0, 3.0], [4.0, 1.0]]))


def test_positions_follow_their_definition() -> None:
    height, width, channels = 3, 4, 8
    position = sine_position((height, width), channels, CPU).view(height, width, channels)
    for row, column, channel in ((0, 0, 0), (2, 3, 1), (1, 2, 3), (2, 1, 4), (1, 3, 7)):
        feature = channel % 4
        last, index = (height, row) if channel < 4 else (width, column)
        angle = (index + 1) / (last + 1e-6) * 2 * math.pi / 10000 ** (2 * (feature // 2) / 4)
        expected = math.cos(angle) if feature % 2 else math.sin(angle)
        assert position[row, column, channel].item() == pytest.approx(expected, abs=1e-5)
