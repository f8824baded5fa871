"""Training: reconstruction alone, then reconstruction and triplets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from napari_staligner._errors import InputError
from napari_staligner.core.model import MessageGraph, Output, STAligner
from napari_staligner.core.progress import Loss, Progress, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.triplets import Matches, Triplets, draw_triplets, mutual_nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Prepared:
    """What is trained on; N spots, G genes.

    Parameters
    ----------
    names
        Names of the slices.
    sizes
        Spots of each slice; rows of a slice are contiguous.
    expression
        Shape (N, G), CSR float32: log-normalised expression of the shared variable genes.
    connectivities
        Shape (N, N), CSR: the spatial graph of all slices, without self loops.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    expression: sparse.csr_matrix
    connectivities: sparse.csr_matrix

    def rows(self, device: torch.device | str = "cpu") -> list[Tensor]:
        """Rows of each slice."""
        return list(torch.arange(sum(self.sizes), device=device).split(list(self.sizes)))


@dataclass(frozen=True)
class Trained:
    """What training gives; N spots, E edges.

    Parameters
    ----------
    embedding
        Shape (N, d), float32: z after the last step.
    attention
        Shape (N, N), CSR float32: α, row = receiving spot, rows sum to 1.
    mutual
        Shape (N, N), CSR float32, symmetric: distance in z of mutual nearest neighbours.
    reconstruction, triplet
        Shape (epochs,), float64: losses by epoch; the triplets' is NaN where there were none.
    """

    embedding: NDArray[np.float32]
    attention: sparse.csr_matrix
    mutual: sparse.csr_matrix
    reconstruction: NDArray[np.float64]
    triplet: NDArray[np.float64]


def find_device(name: str) -> torch.device:
    """Device for a name: ``"auto"`` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("Setting 'device' is 'cuda', but there is no CUDA GPU: choose 'cpu'.")
    return torch.device(name)


def pairs_of(names: Sequence[str], settings: Settings) -> list[tuple[int, int]]:
    """Pairs of slices to align, as indices; every pair unless the settings name some."""
    if settings.pairs is None:
        return list(combinations(range(len(names)), 2))
    at = {name: i for i, name in enumerate(names)}
    found = set()
    for first, second in settings.pairs:
        for name in (first, second):
            if name not in at:
                raise InputError(
                    f"Setting 'pairs' names slice {name!r}, which is not loaded: "
                    f"choose among {', '.join(map(repr, names))}."
                )
        if first != second:
            found.add((min(at[first], at[second]), max(at[first], at[second])))
    return sorted(found)


def train(data: Prepared, settings: Settings) -> Steps[Trained]:
    """Train a :class:`STAligner` on slices, an epoch a step.

    Parameters
    ----------
    data
        The slices.
    settings
        See :class:`Settings`.

    Returns
    -------
    Embedding, attention and matches from a forward pass after the last step.
    """
    device = find_device(settings.device)
    graph = MessageGraph.from_connectivities(data.connectivities, device)
    x = torch.from_numpy(data.expression.toarray()).to(device)
    norm = torch.as_tensor(float(np.square(data.expression.data, dtype=np.float64).sum()))
    norm = norm.to(device, torch.float32)
    model = STAligner(x.shape[1], settings.hidden, settings.latent, seed=settings.seed).to(device)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    matcher = Matcher(data, settings, device)
    history: list[Loss] = []
    triplets: Triplets | None = None
    total = settings.pretrain_epochs + settings.epochs

    for epoch in range(total):
        output = model(x, graph)
        since = epoch - settings.pretrain_epochs
        if since >= 0 and since % settings.refresh == 0:
            matches = yield from matcher.find(output.embedding.detach(), epoch, total)
            triplets = matcher.draw(matches)
            if triplets is None and len(data.names) > 1:
                yield Progress("align", epoch, total, note=NO_MATCH)
        loss, said = _loss(model, x, norm, output, triplets, settings, epoch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        del output, loss
        history.append(said)
        yield Progress("align" if since >= 0 else "pretrain", epoch + 1, total, loss=said)

    with torch.no_grad():
        output = model(x, graph)
    matches = yield from matcher.find(output.embedding, total, total)
    return _trained(output, graph, matches, history)


NO_MATCH = (
    "No mutual nearest neighbours were found between the slices, so nothing pulls them together; "
    "raise the number of nearest neighbours (mnn_k)."
)


def _loss(
    model: STAligner,
    x: Tensor,
    norm: Tensor,
    output: Output,
    triplets: Triplets | None,
    settings: Settings,
    epoch: int,
) -> tuple[Tensor, Loss]:
    """Loss of an epoch: reconstruction alone, or weighted by alpha against the triplets."""
    reconstruction = model.reconstruction(x, norm, output)
    if triplets is None:
        return reconstruction, Loss(epoch + 1, reconstruction.item())
    triplet = triplets.loss(output.embedding, settings.margin)
    loss = settings.alpha * reconstruction + (1 - settings.alpha) * triplet
    return loss, Loss(epoch + 1, reconstruction.item(), triplet.item())


class Matcher:
    """Finds mutual nearest neighbours between slices and draws triplets from them."""

    def __init__(self, data: Prepared, settings: Settings, device: torch.device):
        self.settings = settings
        self.names = data.names
        self.rows = data.rows(device)
        self.pairs = pairs_of(data.names, settings)
        self.slice_of = torch.repeat_interleave(
            torch.arange(len(data.sizes)), torch.tensor(data.sizes)
        ).to(device)
        self.generator = torch.Generator().manual_seed(settings.seed)

    def find(self, embedding: Tensor, done: int, total: int) -> Steps[list[Matches]]:
        """Matches of every pair of slices, a pair a step."""
        matches = []
        for i, j in self.pairs:
            yield Progress(f"match {self.names[i]} and {self.names[j]}", done, total)
            matches.append(
                mutual_nearest(embedding, self.rows[i], self.rows[j], self.settings.mnn_k)
            )
        return matches

    def draw(self, matches: Sequence[Matches]) -> Triplets | None:
        """Draw the triplets of the next epochs."""
        return draw_triplets(
            matches, self.rows, self.slice_of, self.settings.positives, self.generator
        )


def _trained(
    output: Output, graph: MessageGraph, matches: Sequence[Matches], history: list[Loss]
) -> Trained:
    n = graph.n_spots

    def array(values: Tensor) -> NDArray[Any]:
        return values.detach().cpu().numpy()

    attention = sparse.csr_matrix(
        (array(output.attention), array(graph.senders), array(graph.pointers)), shape=(n, n)
    )
    mutual = sparse.csr_matrix((n, n), dtype=np.float32)
    if matches:
        first, second, distance = (
            array(torch.cat([getattr(match, part) for match in matches]))
            for part in ("first", "second", "distance")
        )
        mutual = sparse.csr_matrix((distance, (first, second)), shape=(n, n))
        mutual = (mutual + mutual.T).tocsr()
    nan = float("nan")
    return Trained(
        array(output.embedding),
        attention,
        mutual,
        np.array([said.reconstruction for said in history]),
        np.array([nan if said.triplet is None else said.triplet for said in history]),
    )
