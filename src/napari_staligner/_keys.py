"""Every key that this package writes to AnnData or to layer metadata, with its meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

# -- slots of the concatenated AnnData -------------------------------------------------------
SLICE: Final = "slice"
"""``obs``, categorical: the slice a spot belongs to, categories in the order of loading."""
LIBRARY: Final = "library_id"
"""``obs``, categorical: the library of ``uns["spatial"]`` with the tissue image of a spot, which is
called as its slice (squidpy's and TissUUmaps' name)."""
DOMAIN: Final = "domain"
"""``obs``, categorical: the integrated domain of a spot."""
DOMAIN_COLORS: Final = "domain_colors"
"""``uns``, list of hex colours, one per category of ``obs["domain"]``."""
CONFIDENCE: Final = "alignment_confidence"
"""``obs``, float32 in 0..1: how well the other slices share the spot's neighbourhood in z."""
EMBEDDING: Final = "STAligner"
"""``obsm``, float32 (spots, 30): the embedding z."""
PCA: Final = "X_pca"
"""``obsm``, float32 (spots, 50): principal components without integration (scanpy's name)."""
HARMONY: Final = "X_pca_harmony"
"""``obsm``, float32 (spots, 50): Harmony on the principal components (scanpy's name)."""
NEIGHBOR_MEANS: Final = "X_pca_neighbors"
"""``obsm``, float32 (spots, 30): principal components, averaged over a spot and its neighbours."""
NEIGHBOR_MEANS_HARMONY: Final = "X_pca_neighbors_harmony"
"""``obsm``, float32 (spots, 30): Harmony on these."""
SEDR: Final = "SEDR"
"""``obsm``, float32 (spots, 32): SEDR's embedding."""
SEDR_HARMONY: Final = "SEDR_harmony"
"""``obsm``, float32 (spots, 32): Harmony on it."""
SEDR_RUN: Final = "sedr"
"""``uns``, dict: parameters of SEDR, its seed, and ``loss`` by epoch."""
SPATIAL: Final = "spatial"
"""``obsm``, (spots, 2): original coordinates, in the units of each slice; also the key of the
tissue images in ``uns``."""
SPATIAL_ALIGNED: Final = "spatial_aligned"
"""``obsm``, float64 (spots, 2): coordinates in the frame of the reference slice."""
RESIDUAL: Final = "registration_residual"
"""``obs``, float32, in spacings of the reference: distance of a spot from its counterpart in the
slices it was registered with; NaN where these have no tissue."""
SHIFT: Final = "registration_shift"
"""``obsm``, float64 (spots, 2), in the frame of the reference: from a spot to its counterpart."""
OVERLAPPING: Final = "slices_overlapping"
"""``obs``, int16: how many other slices have tissue where the spot lies in the frame."""
AREA_CHANGE: Final = "area_change"
"""``obs``, float32: log2 of the factor by which the smooth last step of the registration scales the
area at a spot; NaN where the tissue folds."""
UMAP: Final = "X_umap"
"""``obsm``, float32 (spots, 2): UMAP of the embedding (scanpy's name)."""
UMAP_BEFORE: Final = "X_umap_unintegrated"
"""``obsm``, float32 (spots, 2): UMAP of principal components of the genes, without integration.
``uns`` has ``params`` of both UMAPs under the same keys."""
UMAP_OF: Final = "X_umap_"
"""Prefix of the ``obsm`` keys, float32 (spots, 2), of the UMAPs of other embeddings."""
CONNECTIVITIES: Final = "spatial_connectivities"
"""``obsp``, CSR: 1 where two spots of a slice are neighbours (squidpy's name)."""
DISTANCES: Final = "spatial_distances"
"""``obsp``, CSR: distance between neighbours, in the units of the slice (squidpy's name)."""
ATTENTION: Final = "attention"
"""``obsp``, CSR float32: row = receiving spot, column = sending spot, rows sum to 1."""
MUTUAL: Final = "mutual_neighbors"
"""``obsp``, CSR float32: distance in z between mutual nearest neighbours of two slices."""
ANNOTATION: Final = "annotation"
"""``obs``, categorical: the class of a spot according to the present annotator."""
ANNOTATION_COLORS: Final = "annotation_colors"
"""``uns``, list of hex colours, one per category of ``obs["annotation"]``."""
ANNOTATION_BY: Final = "annotation_by_"
"""Prefix of the categorical ``obs`` columns of each annotator, if there are several."""
DISAGREEMENT: Final = "annotation_disagreement"
"""``obs``, categorical: where two annotators agree."""
USED_GENE: Final = "used_by_staligner"
"""``var``, bool: the gene was shared by all slices, variable, and used for the embedding."""
IN_SLICE: Final = "in_slice"
"""``varm``, bool (genes, slices): the gene was in the slice; absent genes are zeros in ``X``."""
STALIGNER: Final = "staligner"
"""``uns``, dict: ``params``, ``version``, ``loss``, ``transforms``, ``registration``, ``slices``,
``pairs``, ``domains``, ``notes``, ``annotations`` (every edit: who, when, how, which spots, what
was drawn), and the entries below."""
PROVENANCE: Final = "provenance"
"""In ``uns["staligner"]``, dict: ``sources`` (for each slice: file, SHA-256, and which part of the
file it is, in brackets as on the command line), ``when``, ``python``, ``machine``, ``threads``,
``versions``."""
SESSION: Final = "session"
"""In ``uns["staligner"]``, JSON: the slices of the session with their sources, and the view, so
that opening the file shows the same picture."""
ANNOTATIONS: Final = "annotations"
"""In ``uns["staligner"]``, dict: every edit of the annotations."""
WRITTEN: Final = "written"
"""In ``uns["staligner"]``, dict: for each slot, the keys that this package wrote."""
OF_INPUT: Final = "of_input"
"""In ``uns["staligner"]``, dict: for each slot, keys of the input that had such a name, shape
(n, 2): the new key (``domain_of_input``) and the old one (``domain``)."""
KEPT_SLICES: Final = "kept_slices"
"""In ``uns["staligner"]``, dict of AnnData: slices of the session that are neither in a file nor in
the result."""
SOURCE: Final = "staligner_source"
"""``uns`` of a slice, dict: the file that it was read from, as in ``sources``."""
ADOPTED: Final = "adopted"
"""In ``uns["staligner"]``, dict, of a result of another program: ``embedding``, the key of ``obsm``
that was taken for it, and ``slices``, the column of ``obs`` that names them."""
EXCLUDED: Final = "excluded"
"""``obs`` of a slice, bool: a spot that the next run leaves out, in a fold or a tear. In
``uns["staligner"]``, AnnData: the spots that a run left out so, with the genes of the result and
``obs["slice"]``; ``obs["excluded"]`` is false where somebody took a spot back."""
EXCLUDED_AFTER: Final = "excluded_after"
"""``obs`` of these spots, int: how many spots of the slice in the result come before it."""
EXCLUDED_BY: Final = "excluded_by"
"""In ``uns["staligner"]``, text: file of the regions that were excluded; empty if they were drawn
in a window; absent if there are none, or a column of the input says so."""
EXCLUDED_BY_FILE: Final = "staligner_excluded_by"
"""``uns`` of a slice: the same text."""
COUNTS_LAYER: Final = "counts_layer"
"""In ``uns["staligner"]``, text: the layer that holds what was integrated; absent if that is
``X``."""
NOTES: Final = "staligner_notes"
"""``uns`` of a slice, texts to follow "Slice 'A': ": what its file was read as, what was guessed
and what was left out."""
RECONSTRUCTION_BY_SLICE: Final = "reconstruction_by_slice"
"""In ``uns["staligner"]``, dict: for each slice, the mean squared error after the last step in what
the model sees: log-normalised expression, or its components, scaled to a mean square of 1."""
PRESENCE: Final = "presence"
"""In ``uns["staligner"]``, data frame: domain × slice with counts, test and verdict."""
STABILITY: Final = "domain_stability"
"""In ``uns["staligner"]``, float: mean adjusted Rand index of the mixture with others equally
likely; absent if the domains are not from a mixture."""
VERDICTS: Final = "verdicts"
"""In ``uns["staligner"]``, data frame, one row per verdict, oldest first: ``first`` and ``second``
slice (empty: all), ``domain`` (empty: all), ``level`` (``aligned``, ``partly``, ``not``), ``note``,
``who``, ``when`` (UTC, ISO 8601) and ``spots`` (how many it was about)."""

PROFILES: Final = "profiles"
"""In ``uns["staligner"]``, JSON: axis and quantity of each profile that the report shows."""
SEEN_PAIRS: Final = "seen_pairs"
"""In ``uns["staligner"]``, JSON: names of each pair of slices that somebody looked at."""
DECLINED: Final = "declined_suspects"
"""In ``uns["staligner"]``, JSON: marks of the suspected folds and tears that somebody declined."""

# -- a table of SpatialData ---------------------------------------------------------------------
ELEMENT: Final = "spots_element"
"""In ``obs``, categorical: the element that holds the spot."""
INSTANCE: Final = "spots_instance"
"""In ``obs``, int: number of the spot in it."""
RESULT_TABLE: Final = "staligner_result"
"""The table of what several slices have in common, by which a store that was exported from here
opens as a result again. It annotates no element."""

# -- metadata of napari layers ----------------------------------------------------------------
LAYER_ROLE: Final = "staligner_role"
"""What the layer shows, a :class:`Role`."""
LAYER_SLICE: Final = "staligner_slice"
"""Name of the slice that the layer belongs to."""
LAYER_CONTENT: Final = "staligner_content"
"""What was read from a file, :class:`napari_staligner.io.session_file.Content`: on the spots of its
last slice, until a session opens it. By then the layers of its other slices exist."""
LAYER_ADATA: Final = "staligner_adata"
"""The slice's own AnnData."""
LAYER_CHANNEL: Final = "staligner_channel"
"""Channel of the tissue image that the layer shows; absent for colours."""
LAYER_PLACE: Final = "staligner_place"
"""Place of an image that is turned, shifted or stretched: float64, shape (3, 3), from (row, column,
1) of its pixels, times the layer's scale, to (y, x, 1) of the spots; ``None`` where the scale tells
it all."""
LAYER_OWN_PLACE: Final = "staligner_own_place"
"""The same for an image as it came, before it was moved alone; the identity where the scale tells
it all."""
LAYER_TABLE: Final = "adata"
"""The slice as a table of SpatialData, which shares its arrays (napari-spatialdata's name)."""


class Role(StrEnum):
    """What a layer shows. A layer that shows several slices belongs to none of them."""

    BLANK = "blank"
    """Nothing: fills a place in a cell of the grid; followed by a number."""
    IMAGE = "image"
    SPOTS = "spots"
    SOLID = "solid"
    """The spots in 3-D."""
    MASKS = "masks"
    """Masks of cells."""
    GRAPH = "graph"
    ATTENTION = "attention"
    SHIFT = "shift"
    """Arrows from spots to their counterparts in other slices."""
    BENDING = "bending"
    """A grid as the smooth last step of the registration bends it."""
    PROPOSAL = "proposal"
    """Spots that may belong to a class."""
    LINKS = "links"
    """Links between slices, in a layer of several slices."""
    TITLE = "title"
    """Names of slices, in a layer of several slices."""
