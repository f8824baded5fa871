r"""The model of SEDR (Xu, Fu, Long et al. 2024, Genome Medicine 16:12, 10.1186/s13073-024-01283-x).

With N spots of G components, masked spots M, the learnt token t, Ã the neighbours with self
loops and :math:`S = D^{-1/2} Ã D^{-1/2}`::

    x_i' = x_i + t  for i in M,  x_i else
    f    = Drop ELU BN(Drop ELU BN(x' V1 + b1) V2 + b2)      N × 16
    h    = ReLU(S Drop(f) U1)                                N × 64
    μ, λ = S Drop(h) Uμ,  S Drop(h) Uλ                       N × 16 each
    g    = μ + ε ⊙ exp(λ) in training, μ after
    z    = [f, g]                                            N × 32
    X̂    = S Drop(z) Ud                                      N × G

Written anew from the paper and from the behaviour of the authors' release. As there, the token is
added, so that at first nothing is masked, and later never completely.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURE_UNITS, GRAPH_UNITS = (64, 16), (64, 16)
MASKED, DROPPED = 0.8, 0.2
RECONSTRUCTION, GRAPH, SELF = 10.0, 0.1, 1.0
"""Weights of the losses."""

with warnings.catch_warnings():
    # The first CSR tensor of a process warns that CSR tensors are in beta; once is here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64), [], (1, 1))


class Draws:
    """All random draws while SEDR trains.

    Parameters
    ----------
    seed
        Of the generator.
    device
        Where the draws are wanted.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self._device = device

    def masked(self, n: int) -> Tensor:
        """Return 1 for the masked spots and 0 for the others, shape (n, 1)."""
        order = torch.randperm(n, generator=self.generator, device=self._device)
        found = torch.zeros(n, 1, device=self._device)
        found[order[: int(MASKED * n)]] = 1.0
        return found

    def noise(self, like: Tensor) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(like.shape, generator=self.generator, device=self._device)

    def drop(self, values: Tensor) -> Tensor:
        """Set a fifth of the values to 0, and scale the others up."""
        kept = torch.empty(values.shape, device=self._device)
        kept.bernoulli_(1 - DROPPED, generator=self.generator)
        return values * kept.div_(1 - DROPPED)


@dataclass(frozen=True)
class Pattern:
    """Positions of the entries of a sparse square matrix, by rows and by columns.

    Parameters
    ----------
    pointers, columns, rows
        CSR, and the row of each entry, int64.
    by_column, rows_by_column, order
        The same by columns; ``order`` gives the position of each entry in the order by rows.
    """

    pointers: Tensor
    columns: Tensor
    rows: Tensor
    by_column: Tensor
    rows_by_column: Tensor
    order: Tensor

    @classmethod
    def of(cls, matrix: sparse.csr_matrix, device: torch.device | str = "cpu") -> Pattern:
        """Take all stored entries, including zeros."""
        matrix = sparse.csr_matrix(matrix, copy=True)
        matrix.sort_indices()
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        places = (np.arange(len(rows)), matrix.indices, matrix.indptr)
        turned = sparse.csr_matrix(places, shape=matrix.shape).tocsc()
        parts = (
            *(matrix.indptr, matrix.indices, rows),
            *(turned.indptr, turned.indices, turned.data),
        )
        return cls(*(torch.from_numpy(part.astype(np.int64)).to(device) for part in parts))

    def times(self, entries: Tensor, values: Tensor) -> Tensor:
        """Multiply the matrix with these entries, shape (entries,), by values, shape (n, d)."""
        return self._csr(self.pointers, self.columns, entries) @ values

    def turned_times(self, entries: Tensor, values: Tensor) -> Tensor:
        """Multiply the transposed matrix by values."""
        entries = entries[self.order]
        return self._csr(self.by_column, self.rows_by_column, entries) @ values

    def products(self, values: Tensor) -> Tensor:
        """Return for each entry the scalar product of its two rows of values, shape (n, d)."""
        if values.is_cuda or torch.backends.mkl.is_available():
            zeros = torch.zeros(len(self.rows), device=values.device)
            blank = self._csr(self.pointers, self.columns, zeros)
            product: Tensor = torch.sparse.sampled_addmm(blank, values, values.t(), beta=0.0)
            return product.values()
        blocks = zip(self.rows.split(1 << 15), self.columns.split(1 << 15), strict=True)
        return torch.cat([(values[i] * values[j]).sum(dim=1) for i, j in blocks])

    def _csr(self, pointers: Tensor, columns: Tensor, entries: Tensor) -> Tensor:
        n = len(pointers) - 1
        return torch.sparse_csr_tensor(pointers, columns, entries, (n, n), check_invariants=False)


class _Smoothed(torch.autograd.Function):
    """S times values, for a symmetric S."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, pattern: Pattern, entries: Tensor) -> Tensor:
        ctx.pattern, ctx.entries = pattern, entries
        return pattern.times(entries, values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.pattern.times(ctx.entries, grads[0].contiguous()), None, None


class _Products(torch.autograd.Function):
    """⟨z_i, z_j⟩ of listed pairs, without an array of size pairs × width."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, pairs: Pattern) -> Tensor:
        ctx.save_for_backward(z)
        ctx.pairs = pairs
        return pairs.products(z)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        pairs: Pattern = ctx.pairs
        return pairs.times(grads[0], z) + pairs.turned_times(grads[0], z), None


@dataclass(frozen=True)
class SedrGraph:
    """Neighbours in the form that the model and its loss use.

    Parameters
    ----------
    pattern, entries
        S: neighbours and self loops, and its entries, float32.
    pairs, labels
        Pairs of spots, and 1 if they are neighbours or the same, else 0, float32.
    norm
        Weight of the pairs' loss, about 0.5: mean over slices of n² / (2 (n² − entries)).
    """

    pattern: Pattern
    entries: Tensor
    pairs: Pattern
    labels: Tensor
    norm: float

    @classmethod
    def of(
        cls,
        neighbors: sparse.csr_matrix,
        slice_of: NDArray[np.integer[Any]],
        seed: int,
        device: torch.device | str = "cpu",
    ) -> SedrGraph:
        """Take neighbours without self loops, and draw as many pairs as Ã has entries.

        The second spot of such a pair may be any spot of any slice; the pairs stay the same.
        """
        n = neighbors.shape[0]
        looped = sparse.csr_matrix(
            (neighbors != 0) + sparse.eye(n, format="csr", dtype=bool), dtype=np.float64
        )
        scale = sparse.diags(1 / np.sqrt(np.diff(looped.indptr)))
        smooth = sparse.csr_matrix(scale @ looped @ scale)
        smooth.sort_indices()
        entries = looped.tocoo()
        drawn = np.random.default_rng(seed).integers(0, n, looped.nnz)
        rows = np.concatenate([entries.row, entries.row])
        columns = np.concatenate([entries.col, drawn])
        labels = np.repeat([1.0, 0.0], looped.nnz)
        # A drawn pair that is an edge, or was drawn before, is one entry.
        pairs = sparse.coo_matrix((labels, (rows, columns)), shape=(n, n)).tocsr()
        pairs.sort_indices()
        squares = np.square(np.bincount(slice_of), dtype=np.float64)
        own = np.bincount(slice_of[entries.row])
        norms = squares / (2 * np.maximum(squares - own, 1.0))
        return cls(
            Pattern.of(smooth, device),
            torch.from_numpy(smooth.data.astype(np.float32)).to(device),
            Pattern.of(pairs, device),
            torch.from_numpy(pairs.data.astype(np.float32)).to(device),
            float(norms.mean()),
        )

    def smoothed(self, values: Tensor) -> Tensor:
        """Return S times values."""
        return cast("Tensor", _Smoothed.apply(values, self.pattern, self.entries))

    def products(self, z: Tensor) -> Tensor:
        """Return ⟨z_i, z_j⟩ of the pairs."""
        return cast("Tensor", _Products.apply(z, self.pairs))


class SedrModel(nn.Module):
    """The network; see the top of this module.

    Parameters
    ----------
    n_inputs
        G, the number of components.
    generator
        Draws the first weights.
    """

    def __init__(self, n_inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        wide, narrow = FEATURE_UNITS
        # Skip torch's own initial weights: drawing them would advance the global generator.
        layers = [skip_init(nn.Linear, *of) for of in ((n_inputs, wide), (wide, narrow))]
        self.dense = nn.ModuleList(layers)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(units, momentum=0.01, eps=1e-3) for units in FEATURE_UNITS
        )
        hidden, latent = GRAPH_UNITS
        self.hidden = nn.Parameter(torch.empty(narrow, hidden))
        self.mean = nn.Parameter(torch.empty(hidden, latent))
        self.log_deviation = nn.Parameter(torch.empty(hidden, latent))
        self.decoder = nn.Parameter(torch.empty(narrow + latent, n_inputs))
        self.token = nn.Parameter(torch.zeros(1, n_inputs))
        for layer in layers:
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        for weight in (self.hidden, self.mean, self.log_deviation, self.decoder):
            nn.init.xavier_uniform_(weight, generator=generator)

    def losses(self, x: Tensor, graph: SedrGraph, draws: Draws) -> Tensor:
        """Run one forward pass and return the weighted sum of the losses.

        Parameters
        ----------
        x
            Shape (N, G).
        graph
            Neighbours.
        draws
            Source of masked spots, noise and dropped values.
        """
        masked = draws.masked(len(x))
        seen = x + masked * self.token
        features, mean, log_deviation = self._encode(seen, graph, draws)
        noise = draws.noise(mean) * log_deviation.exp()
        z = torch.cat([features, mean + noise], dim=1)
        # S (Drop(z) Ud) at the width of z.
        output = graph.smoothed(draws.drop(z)) @ self.decoder
        reconstruction = F.mse_loss(output, x)
        spread = 1 + 2 * log_deviation - mean.square() - (2 * log_deviation).exp()
        divergence = -spread.sum(dim=1).mean() / (2 * len(x))
        pairs = F.binary_cross_entropy_with_logits(graph.products(z), graph.labels)
        error = (1 - F.cosine_similarity(output, seen, dim=1, eps=1e-12)) ** 3
        of_masked = (error * masked[:, 0]).sum() / masked.sum().clamp(min=1)
        linked = graph.norm * pairs + divergence
        return RECONSTRUCTION * reconstruction + GRAPH * linked + SELF * of_masked

    def embed(self, x: Tensor, graph: SedrGraph) -> Tensor:
        """Return z without token, noise and dropout, shape (N, 32)."""
        self.eval()
        with torch.no_grad():
            features, mean, _ = self._encode(x, graph, None)
        self.train()
        return torch.cat([features, mean], dim=1)

    def _encode(
        self, seen: Tensor, graph: SedrGraph, draws: Draws | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        def drop(values: Tensor) -> Tensor:
            return values if draws is None else draws.drop(values)

        f = seen
        for layer, norm in zip(self.dense, self.norms, strict=True):
            f = drop(F.elu(norm(layer(f))))
        h = F.relu(graph.smoothed(drop(f)) @ self.hidden)
        both = torch.cat([drop(h) @ self.mean, drop(h) @ self.log_deviation], dim=1)
        mean, log_deviation = graph.smoothed(both).chunk(2, dim=1)
        return f, mean, log_deviation
