"""The model as plain PyG, gathered and scattered edge by edge, and the search for matches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax


class PlainAttention(MessagePassing):
    """Σ_j α_ij x_j over the edges j → i."""

    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, edge_index: Tensor, alpha: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, alpha=alpha)

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        return alpha[:, None] * x_j


class PlainSTAligner(nn.Module):
    """The equations, term by term, with every array of size E × H and N × G written out."""

    def __init__(self, w1: Tensor, w2: Tensor, a_src: Tensor, a_dst: Tensor) -> None:
        super().__init__()
        self.w1, self.w2, self.a_src, self.a_dst = (
            nn.Parameter(p.detach().clone()) for p in (w1, w2, a_src, a_dst)
        )
        self.attend = PlainAttention()

    def forward(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        source, target = edge_index
        p = x @ self.w1
        e = torch.sigmoid((p[source] * self.a_src).sum(1) + (p[target] * self.a_dst).sum(1))
        alpha = softmax(e, target, num_nodes=len(x))
        h1 = F.elu(self.attend(p, edge_index, alpha))
        z = h1 @ self.w2
        h3 = F.elu(self.attend(z @ self.w2.t(), edge_index, alpha))
        return z, alpha, h3 @ self.w1.t()


def plain_triplet_loss(
    z: Tensor, anchor: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Mean over anchors of max(0, ‖z_a − z_p‖ − ‖z_a − z_n‖ + margin)."""
    near = (z[anchor] - z[positive]).norm(dim=1)
    far = (z[anchor] - z[negative]).norm(dim=1)
    return (near - far + margin).clamp(min=0).mean()


def naive_mutual(
    z: Tensor, first: Tensor, second: Tensor, k: int, k_back: int | None = None
) -> set[tuple[int, int]]:
    """Rows of spots of two slices that are among each other's nearest, from all distances."""
    a, b = z[first].double().numpy(), z[second].double().numpy()
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    there = {(i, j) for i in range(len(a)) for j in np.argsort(distance[i])[:k]}
    back = {(i, j) for j in range(len(b)) for i in np.argsort(distance[:, j])[: k_back or k]}
    return {(int(first[i]), int(second[j])) for i, j in there & back}
