"""How the slices lie, figures of embeddings, and what people said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.session.alignment import Alignment
from napari_staligner.session.domains import Domains
from napari_staligner.session.values import ColorBy

if TYPE_CHECKING:
    from napari_staligner.core.evaluation.comparison import Method
    from napari_staligner.core.evaluation.evaluation import Evaluation, EvaluationJob
    from napari_staligner.core.result.verdicts import Level, Verdict


class Judging(Domains):
    """Alignment, figures and verdicts of the result."""

    verdicts_changed = Signal()
    """A verdict was given, taken back, or renamed with its domain."""
    evaluation_changed = Signal()
    """There are new figures, or none any more."""

    def __init__(self) -> None:
        super().__init__()
        self.alignment = Alignment()
        self.alignment.changed.connect(self._on_alignment_changed)
        self._evaluation: Evaluation | None = None

    def _follow_result(self) -> None:
        super()._follow_result()
        self.alignment.follow(self._result)
        self._evaluation = None

    def _domains_edited(self) -> None:
        if self._evaluation is not None and not self._of_these_domains(self._evaluation):
            self._evaluation = None
            self.evaluation_changed.emit()
        super()._domains_edited()

    def _on_alignment_changed(self) -> None:
        self.saved = False
        if self.color_by == ColorBy("obs", K.RESIDUAL):
            self.color_changed.emit()

    @property
    def evaluation(self) -> Evaluation | None:
        """Figures of embeddings; ``None`` until they are computed for the present domains."""
        return self._evaluation

    def evaluation_job(self, labels: str | None, embeddings: Iterable[str]) -> EvaluationJob:
        """Copy what figures of embeddings need; see :func:`core.evaluation.evaluation_job`.

        Raises
        ------
        InputError
            There is no result, or a column or an embedding cannot be used.
        """
        from napari_staligner.core.evaluation.evaluation import evaluation_job

        if self._result is None:
            raise InputError("There are no integrated slices to judge: integrate first.")
        return evaluation_job(self._result, labels, tuple(embeddings))

    def set_evaluation(self, evaluation: Evaluation) -> None:
        """Take figures, and write embeddings that were computed for them to ``obsm``."""
        if self._result is None or not self._of_these_domains(evaluation):
            return
        for key, embedding in evaluation.computed.items():
            self._result.obsm[key] = embedding
            self.saved = False
        self._evaluation = evaluation
        self.evaluation_changed.emit()

    def methods(self) -> tuple[Method, ...]:
        """List what there are figures of, to be seen side by side; see :mod:`core.side_by_side`."""
        import pandas as pd

        from napari_staligner.core.evaluation.comparison import methods
        from napari_staligner.core.evaluation.umap import umap_key

        result, evaluation = self._result, self._evaluation
        if result is None or evaluation is None:
            return ()
        reference = np.full(result.n_obs, -1)
        if self.domains:
            reference = result.obs[K.DOMAIN].cat.codes.to_numpy()
        labels = None
        if evaluation.labels in result.obs:
            labels = pd.factorize(result.obs[evaluation.labels], sort=True)[0]
        keys = {key: umap_key(key) for key in evaluation.figures}
        umaps = {key: result.obsm[place] for key, place in keys.items() if place in result.obsm}
        return methods(evaluation, reference, list(self.domain_colors.values()), labels, umaps)

    def _of_these_domains(self, evaluation: Evaluation) -> bool:
        import pandas as pd

        figures = evaluation.figures.get(K.EMBEDDING)
        if figures is None or self._result is None or K.DOMAIN not in self._result.obs:
            return True
        return np.array_equal(figures.domains, pd.factorize(self._result.obs[K.DOMAIN])[0])

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What people said of the alignment, the oldest first."""
        from napari_staligner.core.result.verdicts import read_verdicts

        return () if self._result is None else read_verdicts(self._result)

    def judge(
        self,
        level: Level,
        pair: tuple[str, str] | None = None,
        domain: str | None = None,
        note: str = "",
        who: str | None = None,
    ) -> Verdict:
        """Give a verdict; see :func:`core.verdicts.add_verdict`.

        Raises
        ------
        InputError
            There is no result, or no such slice or domain.
        """
        from napari_staligner.core.result.verdicts import add_verdict

        if self._result is None:
            raise InputError("There are no integrated slices to judge: integrate first.")
        verdict = add_verdict(self._result, level, pair=pair, domain=domain, note=note, who=who)
        self.saved = False
        self.verdicts_changed.emit()
        return verdict

    def undo_verdict(self) -> Verdict | None:
        """Take the last verdict back and return it; ``None`` if there is none."""
        from napari_staligner.core.result.verdicts import write_verdicts

        if self._result is None or not self.verdicts:
            return None
        *rest, last = self.verdicts
        write_verdicts(self._result, rest)
        self.saved = False
        self.verdicts_changed.emit()
        return last

    def _on_domains_renamed(self, names: Mapping[str, str]) -> None:
        from napari_staligner.core.result.verdicts import rename_judged_domains

        super()._on_domains_renamed(names)
        if self._result is not None:
            rename_judged_domains(self._result, names)
            self.verdicts_changed.emit()
