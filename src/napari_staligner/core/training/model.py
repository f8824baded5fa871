"""The graph-attention autoencoder of STAligner."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import EdgeIndex

if TYPE_CHECKING:
    from scipy import sparse

GAIN = 1.414

with warnings.catch_warnings():
    # The first CSR tensor of a process warns that CSR tensors are in beta; once is here.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64), [], (1, 1))


@dataclass(frozen=True)
class MessageGraph:
    """Which spots send to which, including self loops, as CSR over receivers and over senders.

    Parameters
    ----------
    pointers, senders
        Shape (spots + 1,) and (edges,), int64: the spots that send to spot i are
        ``senders[pointers[i]:pointers[i + 1]]``.
    receivers
        Shape (edges,), int64: the receiver of each edge, in the same order.
    out_pointers, out_receivers, out_order
        The same edges sorted by sender; ``out_order`` gives each one's position in the first order.
    """

    pointers: Tensor
    senders: Tensor
    receivers: Tensor
    out_pointers: Tensor
    out_receivers: Tensor
    out_order: Tensor

    @classmethod
    def from_connectivities(
        cls, connectivities: sparse.csr_matrix, device: torch.device | str = "cpu"
    ) -> MessageGraph:
        """Take a CSR matrix (row = receiver), and add a self loop to every spot."""
        from scipy import sparse

        n = connectivities.shape[0]
        looped = sparse.csr_matrix(connectivities + sparse.eye(n, format="csr"))
        looped.sort_indices()
        coo = looped.tocoo()
        edges = EdgeIndex(
            torch.stack([torch.from_numpy(coo.col), torch.from_numpy(coo.row)]).long(),
            sparse_size=(n, n),
            sort_order="col",
        )
        (pointers, senders), _ = edges.get_csc()
        (out_pointers, out_receivers), order = edges.get_csr()
        parts = (pointers, senders, edges[1], out_pointers, out_receivers, order)
        return cls(*(torch.as_tensor(part).long().to(device).contiguous() for part in parts))

    @property
    def n_spots(self) -> int:
        """Number of spots."""
        return len(self.pointers) - 1

    def matrix(self, values: Tensor) -> Tensor:
        """Sparse CSR matrix with ``values`` on the edges; row = receiver."""
        return _csr(self.pointers, self.senders, values, self.n_spots)

    def transposed(self, values: Tensor) -> Tensor:
        """The same matrix, transposed."""
        return _csr(self.out_pointers, self.out_receivers, values[self.out_order], self.n_spots)


def _csr(pointers: Tensor, columns: Tensor, values: Tensor, n: int) -> Tensor:
    return torch.sparse_csr_tensor(pointers, columns, values, (n, n), check_invariants=False)


class _Aggregate(torch.autograd.Function):
    """A · values, without storing an array of size edges × width."""

    @staticmethod
    def forward(ctx: Any, attention: Tensor, values: Tensor, graph: MessageGraph) -> Tensor:
        ctx.save_for_backward(attention, values)
        ctx.graph = graph
        return graph.matrix(attention) @ values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        attention, values = ctx.saved_tensors
        graph: MessageGraph = ctx.graph
        grad = grad.contiguous()
        d_attention = d_values = None
        if ctx.needs_input_grad[0]:
            d_attention = _sampled_product(graph, grad, values)
        if ctx.needs_input_grad[1]:
            d_values = graph.transposed(attention) @ grad
        return d_attention, d_values, None


def _sampled_product(graph: MessageGraph, left: Tensor, right: Tensor) -> Tensor:
    """⟨left of the receiver, right of the sender⟩ for every edge."""
    if left.is_cuda or torch.backends.mkl.is_available():
        pattern = graph.matrix(torch.zeros(len(graph.senders), device=left.device))
        product: Tensor = torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0)
        return product.values()
    blocks = zip(graph.receivers.split(1 << 15), graph.senders.split(1 << 15), strict=True)
    return torch.cat([(left[i] * right[j]).sum(1) for i, j in blocks])


class _Softmax(torch.autograd.Function):
    """Softmax over the incoming edges of a spot, for scores in 0..1."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, graph: MessageGraph) -> Tensor:
        weights = scores.exp()
        attention = weights / _sum_by_receiver(weights, graph)[graph.receivers]
        ctx.save_for_backward(attention)
        ctx.graph = graph
        return attention

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (attention,) = ctx.saved_tensors
        weighted = attention * grad
        total = _sum_by_receiver(weighted, ctx.graph)[ctx.graph.receivers]
        return weighted - attention * total, None


def _sum_by_receiver(values: Tensor, graph: MessageGraph) -> Tensor:
    return torch.segment_reduce(values, "sum", offsets=graph.pointers)


class _Gather(torch.autograd.Function):
    """Copy one number per spot to its edges, with a deterministic gradient."""

    @staticmethod
    def forward(ctx: Any, per_spot: Tensor, graph: MessageGraph, of_sender: bool) -> Tensor:
        ctx.graph, ctx.of_sender = graph, of_sender
        return per_spot[graph.senders if of_sender else graph.receivers]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        graph: MessageGraph = ctx.graph
        if ctx.of_sender:
            ordered = grad[graph.out_order]
            return torch.segment_reduce(ordered, "sum", offsets=graph.out_pointers), None, None
        return _sum_by_receiver(grad, graph), None, None


class _GramResidual(torch.autograd.Function):
    """‖X − H Wᵀ‖² from P = X W, with no array of size spots × genes.

    H may be bfloat16: then the products are too, but sums and differences are float32.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, hidden: Tensor, weight: Tensor, norm: Tensor
    ) -> Tensor:
        weight = weight.to(hidden.dtype)
        # Nothing else uses it, so if it is float32, no other array of its size is made.
        gap = (hidden @ (weight.t() @ weight)).float().sub_(projected)
        whole = hidden.float()
        ctx.save_for_backward(hidden, whole, weight)
        ctx.gap = gap
        flat = whole.flatten()
        return norm + flat.dot(gap.flatten()) - flat.dot(projected.flatten())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, whole, weight = ctx.saved_tensors
        twice = 2 * grad
        d_projected = whole * -twice
        d_hidden = ctx.gap.mul_(twice).to(hidden.dtype)
        del ctx.gap
        d_weight = (weight @ (hidden.t() @ hidden)).float().mul_(twice)
        return d_projected, d_hidden, d_weight, None


class Output(NamedTuple):
    """The output of one forward pass; N spots, E edges, H hidden, d latent.

    ``embedding`` is z (N × d), ``attention`` the α of every edge (E), ``hidden`` the decoder's h3
    (N × H, in the precision of the products) and ``projected`` P (N × H), or ``None`` if the input
    is narrower than H.
    """

    embedding: Tensor
    attention: Tensor
    hidden: Tensor
    projected: Tensor | None


class STAligner(nn.Module):
    r"""Graph-attention autoencoder with tied weights.

    .. math::

        P &= X W_1, \quad
        e_{ij} = \sigma(a_{src} \cdot P_j + a_{dst} \cdot P_i), \quad
        \alpha_{ij} = \frac{\exp e_{ij}}{\sum_k \exp e_{ik}} \\
        h_1 &= \mathrm{ELU}(A P), \quad z = h_1 W_2, \quad
        h_3 = \mathrm{ELU}(A z W_2^T), \quad \hat X = h_3 W_1^T

    with one head, no bias and no dropout; the decoder has no separate weights.

    Parameters
    ----------
    n_genes
        Genes G.
    hidden
        Width H of the hidden layer.
    latent
        Width d of the embedding.
    seed
        Seed of the initial weights (Xavier normal, gain 1.414).
    precision
        Of the matrix products: float32, or bfloat16 if the processor supports it natively.

    Shapes
    ------
    X is (N, G), dense, float32, or bfloat16 if the products are; the graph has E edges, including
    self loops; the output is described in :class:`Output`.

    References
    ----------
    Zhou, Dong & Zhang, Nature Computational Science 3, 894–906 (2023).
    """

    def __init__(
        self,
        n_genes: int,
        hidden: int = 512,
        latent: int = 30,
        *,
        seed: int = 666,
        precision: torch.dtype = torch.float32,
    ):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.precision = precision

        def xavier(*shape: int, fans: int) -> nn.Parameter:
            std = GAIN * (2.0 / fans) ** 0.5
            return nn.Parameter(torch.randn(*shape, generator=generator) * std)

        self.w1 = xavier(n_genes, hidden, fans=n_genes + hidden)
        self.w2 = xavier(hidden, latent, fans=hidden + latent)
        # Fan-in and fan-out of a (1, 1, H) attention vector are both H.
        self.a_src = xavier(hidden, fans=2 * hidden)
        self.a_dst = xavier(hidden, fans=2 * hidden)

    @property
    def narrow(self) -> bool:
        """Whether the input has at most H columns, so that it is cheaper to aggregate than P."""
        return self.w1.shape[0] <= self.w1.shape[1]

    def forward(self, x: Tensor, graph: MessageGraph) -> Output:
        """Embed the spots and decode them."""
        embedding, attention, projected = self.encode(x, graph)
        # A (z W2ᵀ) = (A z) W2ᵀ: the edges carry 30 numbers instead of 512.
        mixed = _Aggregate.apply(attention, embedding, graph)
        hidden = F.elu(self._product(mixed, self.w2.t()), inplace=True)
        return Output(embedding, attention, hidden, projected)

    def encode(self, x: Tensor, graph: MessageGraph) -> tuple[Tensor, Tensor, Tensor | None]:
        """Embed the spots: z, α and P as in :class:`Output`."""
        vectors = torch.stack([self.a_src, self.a_dst], 1)
        projected = None if self.narrow else self._product(x, self.w1).float()
        scores = x @ (self.w1 @ vectors) if projected is None else projected @ vectors
        score_src, score_dst = scores.unbind(1)
        sent = _Gather.apply(score_src, graph, True)
        received = _Gather.apply(score_dst, graph, False)
        attention = _Softmax.apply(torch.sigmoid(sent + received), graph)
        if projected is None:
            # A (X W1) = (A X) W1: again the edges carry the narrower of the two.
            mixed = self._product(_Aggregate.apply(attention, x, graph), self.w1)
        else:
            mixed = _Aggregate.apply(attention, projected, graph).to(self.precision)
        # From here to z all has the chosen precision; the next product would round to it anyway.
        embedding = self._product(F.elu(mixed, inplace=True), self.w2).float()
        return embedding, attention, projected

    def residual(self, x: Tensor, norm: Tensor, output: Output, n_own: int | None = None) -> Tensor:
        """Sum over spots and genes of (X − X̂)².

        Parameters
        ----------
        x
            Shape (N, G).
        norm
            ‖X‖² of the spots that count, a scalar, computed once.
        output
            Of :meth:`forward` on ``x``.
        n_own
            Only this many of the first spots count.
        """
        hidden = output.hidden[:n_own]
        if output.projected is None:
            return (self._product(hidden, self.w1.t()).float() - x[:n_own]).square().sum()
        residual: Tensor = _GramResidual.apply(output.projected[:n_own], hidden, self.w1, norm)
        return residual

    def reconstruction(self, x: Tensor, norm: Tensor, output: Output) -> Tensor:
        """Mean over spots and genes of (X − X̂)²; see :meth:`residual`."""
        return self.residual(x, norm, output) / x.numel()

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        """Matrix product; it and its result have the chosen precision."""
        return left.to(self.precision) @ right.to(self.precision)
