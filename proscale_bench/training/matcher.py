"""Which query answers for which segment: the cheapest one-to-one matching. Source: Cheng et al. 2022, section 3.3."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

DEAR = 1e6

Matching = tuple[NDArray[np.int64], NDArray[np.int64]]  # queries, and the segment of each


def matching_costs(
    class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor, weights: tuple[float, float, float]
) -> Tensor:
    """What it costs that a query answers for a segment, of one image, several layers at once.

    Args:
        class_logits: [L, Q, K+1].
        mask_logits: at the image's points, [L, Q, P].
        labels: classes of the segments, [N].
        masks: the segments at the same points, 0 to 1, [N, P].
        weights: of class, mask and dice.

    Returns:
        [L, Q, N], float32.
    """
    by_class = -class_logits.softmax(-1)[..., labels]
    # Binary cross-entropy of logits x for a target t: softplus(x) - x t, a product and a sum.
    products = mask_logits @ masks.T  # [L, Q, N]
    by_mask = (F.softplus(mask_logits).sum(-1, keepdim=True) - products) / masks.shape[1]
    probabilities = mask_logits.sigmoid()
    shared = probabilities @ masks.T
    by_dice = 1 - (2 * shared + 1) / (probabilities.sum(-1, keepdim=True) + masks.sum(-1) + 1)
    of_class, of_mask, of_dice = weights
    return of_class * by_class + of_mask * by_mask + of_dice * by_dice


def match(costs: Tensor) -> list[Matching]:
    """The cheapest matching of each layer, from costs [L, Q, N]: as many pairs as the fewer of Q and N.

    Costs that are no numbers (a diverged model) count as very dear: the loss, which is not finite either, tells.
    """
    dear = torch.nan_to_num(costs, nan=DEAR, posinf=DEAR, neginf=DEAR)
    return [linear_sum_assignment(layer) for layer in dear.double().cpu().numpy()]
