"""What a paper has to say of how its slices were integrated, with the figures of a result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.domains.presence import recorded_presence
from napari_staligner.core.prepare.counts import USED_AS_THEY_ARE
from napari_staligner.core.prepare.excluded import excluded_of
from napari_staligner.core.registration.choice import Choice
from napari_staligner.core.result.access import record_of
from napari_staligner.core.result.provenance import settings_of

if TYPE_CHECKING:
    from anndata import AnnData

PAPER = (
    "Zhou, Dong & Zhang, Nature Computational Science 3, 894–906 (2023), "
    "doi:10.1038/s43588-023-00528-w"
)
NAMED = {
    "default": "the program's default settings",
    "published": "the settings published with STAligner",
    "": "settings that we chose",
}
MODELS = {
    "rigid": "rigid motions, with mirroring where needed",
    "similarity": "motions with one scale for each slice",
    "affine": "affine maps",
}
_AS_THEY_ARE = re.compile(rf"Slice '(.*)': .* holds {re.escape(USED_AS_THEY_ARE)}")
VERSIONS_TOLD = ("torch", "scanpy", "squidpy")


def methods_text(adata: AnnData) -> str:
    """Return a paragraph for the methods of a paper, with the figures of this result filled in.

    It tells only of what the result records; what is not there is left out.

    Parameters
    ----------
    adata
        Integrated slices; reads ``obs["slice"]``, ``obs["domain"]``,
        ``obs["alignment_confidence"]``, ``obs["registration_residual"]``, the entries of
        ``obsp["spatial_connectivities"]`` and ``obsp["mutual_neighbors"]``,
        ``var["used_by_staligner"]`` and ``uns["staligner"]``.

    Returns
    -------
    Plain text in English, one paragraph, without a line break.

    Raises
    ------
    InputError
        These are no integrated slices.
    """
    if K.SLICE not in adata.obs or K.EMBEDDING not in adata.obsm:
        raise InputError("There are no integrated slices to write of: integrate them first.")
    adopted = K.ADOPTED in record_of(adata)
    parts = [_slices(adata), _adopted(adata) if adopted else _training(adata)]
    parts += [_matches(adata), _domains(adata), *_presence(adata), _registration(adata)]
    return " ".join(filter(None, [*parts, _software(adata)]))


def _names(adata: AnnData) -> list[str]:
    return list(map(str, pd.Categorical(adata.obs[K.SLICE]).categories))


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _slices(adata: AnnData) -> str:
    counts = pd.Categorical(adata.obs[K.SLICE]).value_counts()
    told = _and([f"{name} ({_count(int(counts[name]), 'spot')})" for name in counts.index])
    said = f"We integrated {_count(len(counts), 'slice')}, {told},"
    if K.USED_GENE in adata.var:
        used = int(adata.var[K.USED_GENE].sum())
        said += f" by {_count(used, 'variable gene')} that {_they(len(counts))},"
    aside = excluded_of(adata)
    if aside is None:
        return f"{said} {_how(adata)}."
    return f"{said} {_how(adata)}. We left out {_count(aside.n_obs, 'spot')} in folds or tears."


def _they(n_slices: int) -> str:
    return "it has" if n_slices == 1 else "all of them have"


def _how(adata: AnnData) -> str:
    record = record_of(adata)
    if K.ADOPTED in record:
        return "and judged the result with napari-staligner"
    return f"with STAligner ({PAPER}) in napari-staligner {record.get('version', '(unknown)')}"


def _adopted(adata: AnnData) -> str:
    kept = record_of(adata)[K.ADOPTED]
    return (
        f'The embedding was computed by another program (obsm["{kept["embedding"]}"], slices by '
        f'obs["{kept["slices"]}"]).'
    )


def _training(adata: AnnData) -> str:
    record = record_of(adata)
    if "params" not in record:
        return ""
    settings = settings_of(adata)
    said = f"{_values(adata)} {_graph(adata)}"
    width = np.shape(adata.obsm[K.EMBEDDING])[1]
    said += (
        f" With {NAMED[settings.name()]}, a graph-attention autoencoder ({settings.hidden} hidden "
        f"units, {width} latent dimensions) "
    )
    if settings.components:
        said += f"of the first {settings.components} principal components "
    triplet = np.asarray(record.get("loss", {}).get("triplet", ()), dtype=float)
    aligned = int(np.isfinite(triplet).sum())
    alone = f"trained for {_count(len(triplet) - aligned, 'epoch')} of reconstruction"
    if aligned:
        alone += (
            f" and {_count(aligned, 'epoch')} with triplets of mutual nearest neighbours between "
            f"slices (k = {settings.mnn_k}, margin {settings.margin:g}, weight of reconstruction "
            f"{settings.alpha:g})"
        )
    return f"{said}was {alone}; the seed was {settings.seed}."


def _values(adata: AnnData) -> str:
    """What was done to the values, of which the notes tell where they were no counts."""
    found = (_AS_THEY_ARE.match(str(note)) for note in record_of(adata).get("notes", ()))
    names = [each[1] for each in found if each]
    if set(names) >= set(_names(adata)):
        return "The values were normalised already, and were used as they were."
    said = "Counts were scaled to 10,000 per spot and log-transformed"
    return f"{said}; values of {_and(names)} were normalised already." if names else f"{said}."


def _graph(adata: AnnData) -> str:
    if K.CONNECTIVITIES not in adata.obsp:
        return ""
    mean = adata.obsp[K.CONNECTIVITIES].nnz / max(1, adata.n_obs)
    radius: Mapping[str, float] = record_of(adata).get("radius", {})
    how = ""
    if radius:
        each = ", ".join(f"{name}: {float(value):.4g}" for name, value in radius.items())
        how = f" that lay closer than a radius ({each}; units of the coordinates of each slice)"
    return f"Neighbours on the tissue were spots of one slice{how}, on average {mean:.1f} per spot."


def _matches(adata: AnnData) -> str:
    said = []
    if K.MUTUAL in adata.obsp and len(_names(adata)) > 1:
        matrix = adata.obsp[K.MUTUAL]
        matched = float(np.mean(np.diff(matrix.tocsr().indptr) > 0))
        said.append(f"{matched:.0%} of the spots had a mutual nearest neighbour in another slice")
    if K.CONFIDENCE in adata.obs:
        found = adata.obs[K.CONFIDENCE].to_numpy(float)
        if np.isfinite(found).any():
            said.append(f"the median confidence of the alignment was {np.nanmedian(found):.2f}")
    return f"{'; '.join(said)}." if said else ""


def _domains(adata: AnnData) -> str:
    if K.DOMAIN not in adata.obs:
        return ""
    record, n = record_of(adata), len(pd.Categorical(adata.obs[K.DOMAIN]).categories)
    params = record.get("params", {})
    if "domains" in params:
        where = "embedding"
        if params.get("averaged"):
            where += (
                ", averaged over each spot and its neighbours on the tissue where these are at "
                "most 2 % of a slice,"
            )
        how = f"found in the {where} by a Gaussian mixture with one covariance"
    elif "resolution" in params:
        how = f"found in the embedding by Leiden (resolution {float(params['resolution']):g})"
    else:
        return f"There were {n} domains."
    if params.get("smooth"):
        how += ", and smoothed by the majority among neighbours on the tissue"
    stable = ""
    if K.STABILITY in record:
        stable = (
            " (mean adjusted Rand index with equally likely divisions "
            f"{round(float(record[K.STABILITY]), 2) + 0.0:.2f})"
        )
    return f"{n} domains were {how}{stable}."


def _presence(adata: AnnData) -> Iterator[str]:
    table = recorded_presence(adata)
    if table is None or len(_names(adata)) < 2:
        return
    found = table.specific()
    test = (
        "by a permutation test over compact blocks of about 16 spots, adjusted by Benjamini and "
        "Hochberg"
    )
    if not found:
        yield f"No domain was specific to one slice {test}."
        return
    told = [
        f"{name} ({row.slice}, {row.spots:,} spots, q = {row.q:.2g})" for name, row in found.items()
    ]
    yield f"Specific to one slice, {test}: {_and(told)}."


def _registration(adata: AnnData) -> str:
    record = record_of(adata)
    if "registration" not in record or K.SPATIAL_ALIGNED not in adata.obsm:
        return ""
    choice = Choice.read(record["registration"])
    reference = choice.reference or _names(adata)[0]
    said = f"Slices were registered to {reference} by their embeddings with {MODELS[choice.model]}"
    if choice.landmarks:
        said += f", comparing spots of the domains {_and(list(choice.landmarks))} only"
    if choice.nonrigid:
        said += ", followed by a thin-plate spline"
    if K.RESIDUAL in adata.obs:
        found = adata.obs[K.RESIDUAL].to_numpy(float)
        if np.isfinite(found).any():
            said += f"; the median residual was {np.nanmedian(found):.1f} spacings of spots"
    return f"{said}."


def _software(adata: AnnData) -> str:
    kept = record_of(adata).get(K.PROVENANCE, {})
    versions = kept.get("versions", {})
    told = [f"{name} {versions[name]}" for name in VERSIONS_TOLD if name in versions]
    if not told:
        return ""
    python = f"Python {kept['python']}" if "python" in kept else ""
    return f"Software: {_and([*filter(None, [python]), *told])}."
