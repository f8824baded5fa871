"""How far a training is: its losses, what has settled, and the triplets of the next epochs."""

from __future__ import annotations

from collections.abc import Sequence

from napari_staligner.core.progress import Loss
from napari_staligner.core.training.stopping import MatchSettling, Settling
from napari_staligner.core.training.trainer import Trainer
from napari_staligner.core.training.triplets import Matches, Triplets

KEEP_EPOCHS = 25
"""Epochs of pretraining between two checkpoints; later there is one before each search for matches,
which takes long and cannot be kept halfway."""


class Course:
    """The course of one training; between two epochs it can be kept, and gone on with.

    Parameters
    ----------
    trainer
        The model, its input and its optimiser.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._settings = settings = trainer.settings
        self.history: list[Loss] = []
        self.settling = Settling(settings.tolerance)
        self.match_settling = MatchSettling(settings.tolerance)
        self.pretrained = 0
        self.pretraining = settings.pretrain_epochs > 0
        self.done = settings.pretrain_epochs
        """Epochs of the whole schedule that lie behind, those that pretraining spared too."""
        self.left = 0
        """Epochs until the next search."""
        self.triplets: Triplets | None = None
        self.due = False
        """Whether now is the time for a checkpoint."""

    @property
    def total(self) -> int:
        """Most epochs."""
        return self._settings.pretrain_epochs + self._settings.epochs

    def pretrain(self) -> Loss:
        """Train for one epoch on reconstruction alone."""
        loss = self._step(None)
        self.pretrained += 1
        settled = self.settling.settled(1 - loss.reconstruction / self.trainer.variance)
        settled = self.trainer.ranks.decide(settled)
        self.pretraining = not settled and self.pretrained < self._settings.pretrain_epochs
        self.due = not self.pretraining or self.pretrained % KEEP_EPOCHS == 0
        return loss

    def settled(self, matches: Sequence[Matches], before: Sequence[Matches] | None) -> bool:
        """Take the matches of a search; return whether training ends with them."""
        if self.trainer.ranks.decide(self.match_settling.settled(matches, before)):
            self.done, self.due = self.total, True
            return True
        self.triplets = self.trainer.matcher.draw(matches)
        self.left = min(self._settings.refresh, self.total - self.done)
        return False

    def align(self) -> Loss:
        """Train for one epoch on reconstruction and triplets."""
        loss = self._step(self.triplets)
        self.done += 1
        self.left -= 1
        self.due = self.left == 0
        return loss

    def _step(self, triplets: Triplets | None) -> Loss:
        self.history.append(self.trainer.step(len(self.history), triplets))
        return self.history[-1]
