"""One exact training step for any number of spots: tile by tile, with gradients added up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_staligner.core.freed import give_back
from napari_staligner.core.progress import Loss, Steps
from napari_staligner.core.settings import Settings
from napari_staligner.core.training.dealing import cut_and_dealt
from napari_staligner.core.training.devices import device_note, find_device, find_precision
from napari_staligner.core.training.input import Input
from napari_staligner.core.training.matching import Matcher
from napari_staligner.core.training.model import STAligner
from napari_staligner.core.training.pieces import Pieces
from napari_staligner.core.training.ranks import Arrays, Ranks
from napari_staligner.core.training.tiles import Tile, bare_tile, tile_of
from napari_staligner.core.training.triplets import Matches, Triplets

if TYPE_CHECKING:
    from napari_staligner.core.training.data import Prepared

TILE_SPOTS = 16_384
KEEP_BYTES = 1 << 30
"""Inputs and activations up to this size stay in memory between passes. It is fixed, so that a run
gives the same numbers on machines with more or less memory."""
OFFSET_ROUNDS, OFFSET_SMALL = 2, 0.02
"""Slices are moved and matched again up to this many times, while they move by more than this part
of the length of a spot's input."""


EDGES = ("receivers", "senders", "attention")


class Embedded(NamedTuple):
    """A forward pass over all spots, without gradients.

    ``embedding`` is z (N × d); ``receivers``, ``senders`` and ``attention`` (E each, on the CPU)
    are the edges, sorted by tile, with their α; none if they were not wanted.
    """

    embedding: Tensor
    receivers: Tensor
    senders: Tensor
    attention: Tensor


class Searched(NamedTuple):
    """A search for matches: z of all spots, and what was found."""

    embedding: Tensor
    matches: list[Matches]


class Trainer:
    """The model, its input and its optimiser.

    The graph has no edges between slices and the reconstruction is a sum over spots, so the
    gradients of tiles add up to the whole gradient; the triplets need only z. So a step embeds all
    tiles, differentiates the triplets in z, and then runs one tile at a time forward and backward.
    If everything fits in memory, the first pass is kept and used for the second. Of several ranks,
    each computes its own tiles.

    Parameters
    ----------
    data
        The slices.
    settings
        See :class:`Settings`.
    ranks
        The processes that train together; ``None`` for this one alone.
    tile_spots, keep_bytes
        Most spots of a tile, and most bytes that are kept between passes.
    """

    def __init__(
        self,
        data: Prepared,
        settings: Settings,
        *,
        ranks: Ranks | None = None,
        tile_spots: int = TILE_SPOTS,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.settings = settings
        self.sizes = data.sizes
        self.device, self._note = find_device(settings.device), device_note(settings.device)
        self.ranks = ranks or Ranks()
        pieces, dealt = cut_and_dealt(self.ranks, data.sizes, data.coordinates, tile_spots)
        self._owners = dealt.tiles
        self.tiles = [
            tile_of(own, number, data.connectivities, self.device)
            if owner == self.ranks.rank
            else bare_tile(own, number, self.device)
            for (number, own), owner in zip(pieces, self._owners, strict=True)
        ]
        self.input = Input(data, settings, self.device, self.ranks, dealt)
        self.precision = find_precision(settings.precision, self.device)
        self.model = STAligner(
            self.input.width,
            settings.hidden,
            settings.latent,
            seed=settings.seed,
            precision=self.precision,
        ).to(self.device)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.matcher = Matcher(data.names, data.sizes, settings, self.device, self.ranks)
        keeps = 4 * sum(data.sizes) * (self.input.width + 4 * settings.hidden) <= keep_bytes
        own = {number: self.tiles[number] for number in self._own()}
        self._pieces = Pieces(own, data, self.device, keeps=keeps)
        self._most_pieces = 1
        self.searched: Searched | None = None
        give_back()

    @property
    def n_values(self) -> int:
        """Spots times columns of the input."""
        return sum(self.sizes) * self.input.width

    @property
    def variance(self) -> float:
        """Mean square of the input: the reconstruction loss of a model that always returns 0."""
        return self.input.square_sum / self.n_values

    @property
    def keeps(self) -> bool:
        """Whether inputs and activations are kept between passes."""
        return self._pieces.keeps

    def news(self) -> str | None:
        """Return a sentence if memory ran out since this was asked last, or the GPU is left out."""
        note, self._note = self._note, None
        return note or self._pieces.news(self._most_pieces)

    def step(self, epoch: int, triplets: Triplets | None) -> Loss:
        """Train for one epoch: with triplets, or on reconstruction alone."""
        self.optimizer.zero_grad(set_to_none=True)
        reconstruction, triplet = self.gradients(triplets)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        if triplet is None:
            return Loss(epoch + 1, reconstruction.item())
        both = torch.stack([reconstruction, triplet]).tolist()
        return Loss(epoch + 1, *both)

    def gradients(self, triplets: Triplets | None) -> tuple[Tensor, Tensor | None]:
        """Add the gradients of one pass to the parameters; return both losses."""
        weight, pull, triplet = 1.0, None, None
        if triplets is not None:
            weight = self.settings.alpha
            triplet, pull = triplets.pull(self._first_pass(), self.settings.margin)
            pull *= 1 - weight
        total = torch.zeros((), device=self.device)
        found: dict[int, Tensor] = {}
        for number in self._own():
            row = self._differentiate(number, weight, pull)
            if self.ranks.size > 1:
                found[number] = row
            else:
                total += self._added(row)
        counts = [self._pieces.most]
        for number, owner in enumerate(self._owners if self.ranks.size > 1 else ()):
            # In the order of the tiles, so that the sum does not depend on who computed them.
            row = self.ranks.share(found.pop(number, self._room()), owner)
            total += self._added(row)
            counts.append(int(row[0]))
        self._most_pieces = max(counts)
        return total, triplet

    def _differentiate(self, number: int, weight: float, pull: Tensor | None) -> Tensor:
        """One row: in how many pieces a tile was computed, its part of the loss, its gradients."""
        parameters = list(self.model.parameters())

        def row_of(piece: Tile) -> Tensor:
            x = self._input(piece)
            output = self._pieces.outputs.pop(id(piece), None) or self.model(x, piece.graph)
            residual = self.model.residual(x, self._norm(piece), output, piece.n_own)
            residual = residual / self.n_values
            loss = weight * residual
            if pull is not None:
                loss = loss + (output.embedding[: piece.n_own] * pull[piece.own]).sum()
            gradients = torch.autograd.grad(loss, parameters)
            one = residual.new_ones(1)
            return torch.cat([one, residual.detach().reshape(1), *(g.flatten() for g in gradients)])

        first, *others = self._pieces.each(number, row_of)
        for row in others:
            first += row
        return first

    def _own(self) -> list[int]:
        """Numbers of the tiles that this rank computes."""
        return self._of(self.ranks.rank)

    def _of(self, rank: int) -> list[int]:
        return [number for number, owner in enumerate(self._owners) if owner == rank]

    def _room(self) -> Tensor:
        n = 2 + sum(parameter.numel() for parameter in self.model.parameters())
        return torch.empty(n, device=self.device)

    def _added(self, row: Tensor) -> Tensor:
        """Add such a row to the gradients; return the loss in it."""
        at = 2
        for parameter in self.model.parameters():
            part = row[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
            parameter.grad = part.clone() if parameter.grad is None else parameter.grad.add_(part)
        return row[1]

    def embed(self, *, attention: bool = False) -> Embedded:
        """Embed all spots in float32, whatever the precision of training.

        Parameters
        ----------
        attention
            Whether the edges are wanted, too; of several ranks, the first gets them.
        """
        with self._exactly():
            return self._embed(attention)

    def residuals(self) -> list[float]:
        """Mean squared error of the reconstruction of each slice, in float32."""
        sums = torch.zeros(len(self.sizes), dtype=torch.float64, device=self.device)

        def squares(piece: Tile) -> Tensor:
            x = self._input(piece)
            output = self.model(x, piece.graph)
            return self.model.residual(x, self._norm(piece), output, piece.n_own)

        with torch.no_grad(), self._exactly():
            own = {n: torch.stack(self._pieces.each(n, squares)).sum() for n in self._own()}
        for number, (tile, owner) in enumerate(zip(self.tiles, self._owners, strict=True)):
            found = own.get(number, torch.empty((), device=self.device))
            sums[tile.of] += self.ranks.share(found, owner)
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=self.device)
        found_by_slice: list[float] = (sums / (sizes * self.input.width)).tolist()
        return found_by_slice

    def release(self) -> None:
        """Let go of all but the matcher: nothing can be trained or embedded any more."""
        self.searched = None
        for name in ("tiles", "input", "model", "optimizer", "_pieces"):
            delattr(self, name)
        give_back()

    def match(self, done: int, total: int) -> Steps[tuple[list[Matches], Sequence[Matches] | None]]:
        """Find the matches of the next epochs; with a low-rank input, move slices by them first.

        Returns
        -------
        The matches, and those of the same spots in the search before, if there was one.
        """
        give_back()
        self.matcher.thin()
        old: Sequence[Matches] | None = None
        before, self.searched = self.searched, None
        if before is not None:
            # With drawn spots, that search compared other ones.
            old = before.matches
            if self.matcher.thins:
                old = yield from self.matcher.find(before.embedding, done, total)
        del before
        embedding = self.embed().embedding
        matches = yield from self.matcher.find(embedding, done, total)
        if self.settings.offsets and self.input.scores is not None:
            for _ in range(OFFSET_ROUNDS):
                moved = self.input.move(self.input.offsets(matches))
                self._pieces.forget()
                if moved < OFFSET_SMALL:
                    break
                embedding = self.embed().embedding
                matches = yield from self.matcher.find(embedding, done, total)
        self.searched = Searched(embedding, matches)
        give_back()
        return matches, old

    def _first_pass(self) -> Tensor:
        """Embed all spots; if outputs are kept, then with what their gradients need."""
        z = self._empty()

        def place(piece: Tile) -> None:
            if self.keeps:
                output = self.model(self._input(piece), piece.graph)
                z[piece.own] = output.embedding[: piece.n_own].detach()
                self._pieces.outputs[id(piece)] = output
                return
            with torch.no_grad():
                embedding, _, _ = self.model.encode(self._input(piece), piece.graph)
            z[piece.own] = embedding[: piece.n_own]

        for number in self._own():
            self._pieces.each(number, place)
        self._gather(z)
        return z

    def _gather(self, z: Tensor) -> None:
        """Fill in what other ranks computed."""
        if self.ranks.size == 1:
            return
        held = [
            torch.cat([z.new_empty(0, dtype=torch.int64), *(self.tiles[i].own for i in numbers)])
            for numbers in map(self._of, range(self.ranks.size))
        ]
        found = self.ranks.gather(z[held[self.ranks.rank]], [len(rows) for rows in held])
        for rows, values in zip(held, found, strict=True):
            z[rows] = values

    def _embed(self, attention: bool) -> Embedded:
        found: dict[int, Arrays] = {}
        z = self._empty()

        def place(piece: Tile) -> Arrays:
            embedding, weights, _ = self.model.encode(self._input(piece), piece.graph)
            z[piece.own] = embedding[: piece.n_own]
            return _edges(piece, weights) if attention else {}

        with torch.no_grad():
            for number in self._own():
                parts = self._pieces.each(number, place)
                if attention:
                    found[number] = {n: np.concatenate([p[n] for p in parts]) for n in EDGES}
        self._gather(z)
        edges = []
        for number, owner in enumerate(self._owners if attention else ()):
            part = self.ranks.share_arrays(found.pop(number, None), owner)
            if not self.ranks.rank:
                edges.append([torch.from_numpy(part[name]) for name in EDGES])
        if not edges:
            edges = [[*torch.empty(2, 0, dtype=torch.int64), torch.empty(0)]]
        return Embedded(z, *(torch.cat(part) for part in zip(*edges, strict=True)))

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        """Searches and results are computed without rounding to the precision of a step."""
        self.model.precision = torch.float32
        try:
            yield
        finally:
            self.model.precision = self.precision

    def _empty(self) -> Tensor:
        return torch.empty(sum(self.sizes), self.settings.latent, device=self.device)

    def _norm(self, piece: Tile) -> Tensor:
        """‖X‖² of a piece's own spots; only an input wider than the hidden layer needs it."""
        if self.model.narrow:
            return torch.zeros(())
        norms = self._pieces.norms
        if id(piece) not in norms:
            own = self._input(piece)[: piece.n_own]
            norms[id(piece)] = own.double().square().sum().float()
        return norms[id(piece)]

    def _input(self, piece: Tile) -> Tensor:
        """Input of a piece, kept between passes if it fits."""
        if not self.keeps or self.model.precision != self.precision:
            return self._rows(piece)
        inputs = self._pieces.inputs
        if id(piece) not in inputs:
            inputs[id(piece)] = self._rows(piece)
        return inputs[id(piece)]

    def _rows(self, tile: Tile) -> Tensor:
        """Input of a tile, in the precision of products if it is wide, as it is used only there."""
        rows = self.input.rows(tile)
        return rows if self.model.narrow else rows.to(self.model.precision)


def _edges(tile: Tile, weights: Tensor) -> Arrays:
    """Edges to a tile's own spots among all spots, with their α."""
    end = int(tile.graph.pointers[tile.n_own])
    ends = (tile.nodes[part[:end]] for part in (tile.graph.receivers, tile.graph.senders))
    parts = (part.cpu().numpy() for part in (*ends, weights[:end]))
    return dict(zip(EDGES, parts, strict=True))
