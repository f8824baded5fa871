"""A simulated mouse olfactory bulb, measured with two technologies.

Sections of two animals share their layers, but not coordinates, outline or capture chemistry,
and only one of them has the accessory olfactory bulb. An integration of them can be checked
against ``obs["region"]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_staligner._errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

SLICE_NAMES = ("Slide-seqV2", "Stereo-seq")

# Homes as measured in two sections of mouse olfactory bulb by Spatial Transcriptomics (Ståhl 2016,
# replicates 11 and 12), as far as they tell: a gene is named under each region that it marks.
_MARKERS = {
    "ONL": "Omp Fabp7 S100a5 Apod Npy Frzb Gng13 Stoml3 Kctd12 Ptgds Ptn Ccnd2 Plp1 Fxyd6 Gng8",
    "GL": "Th Calb2 Nrsn1 Cck Slc17a6 Calb1 Trh Barhl2 Ppp1r1b Vip",
    "EPL": "Slc6a11 Doc2g Sparcl1 Kcna2 Gja1 Pvalb Crh Slc1a2 Cldn10 Atp1a2 Aldoc Htra1 Fgfr3",
    "MCL": "Slc17a7 Gabrb2 Reln Shisa3 Gap43 Lbhd2 Cdhr1 Eomes Tbx21 Uchl1 Thy1 Spp1 Lhx1 Nefl",
    "IPL": "Tpbg Synpr Cplx1 Nefm Nefh Cnp Mal Gria3 Kcnc1 Nos1 Scn1b Slc32a1",
    "GCL": "Nrgn Penk Pcp4 Meis2 Camk4 Gpsm1 Inpp5j Syt6 Ppp3ca Stxbp6 Gad2 Cacng5 Tshz1",
    "RMS": "Sox11 Dcx Dlx2 Dlx1 Nrep Cd24a Sox4 Igfbpl1 Tubb2b Mbp Mobp",
    "AOB": "Fxyd6 Gng8 Calca Nrp2 Gnao1 Tbr1 Cartpt Tac1 Pcdh10 Rgs4 Vmn2r1",
    "AOBgr": "Atp2b4 Lypd1 Foxp2 Grp Oxtr Chst15 Rasgrp1 Cdh8 Npy1r Sstr2 Zic1 Car10",
}
_REGIONS = tuple(_MARKERS)
_AOB, _AOBGR = _REGIONS.index("AOB"), _REGIONS.index("AOBgr")
_GL, _MCL, _GCL = (_REGIONS.index(name) for name in ("GL", "MCL", "GCL"))
_COLORS = (
    *("#4477aa", "#66ccee", "#228833", "#cc3311", "#ee8833"),
    *("#ddcc55", "#8c510a", "#ff66bb", "#882288"),
)
# Gene families that supply names for the genes that mark no layer.
_FAMILIES = (
    "Rpl{} Rps{} Zfp{} Tmem{} Ccdc{} Slc25a{} Rab{} Psma{} Ndufa{} Cox{}a Eif{}a Hspa{} Ube2d{} "
    "Usp{} Lrrc{} Trim{} Kif{} Klhl{} Fam{}a Map{}k Gm1{}7 Ankrd{} Wdr{} Mrpl{} Cdk{} Ppp{}c "
    "Dnajc{} Arl{} Vps{} Sec{}b Kcnk{} Cacna{} Gabra{} Grm{} Ptp{}a Rnf{} Snx{} 1700{}Rik"
)
_MIN_GENES, _MIN_SPOTS = 300, 50

# Natural logarithms, of expression: the level of markers and its spread, against 0 ± 1.3 of other
# genes; by how much a marker rises in its region (by a factor of 1.7 to 3; more where fewer genes
# tell a region apart); the spread of the other genes that a region changes; and, over genes, of a
# platform's efficiency. With these, neighbour means and Harmony find the layers about as well
# as in real slices: ARI 0.6 to 0.7.
_MARKER_LEVEL = (1.4, 0.4)
_RISE = (0.55, 1.1)
_RISES = {"ONL": (1.39, 2.08), "AOB": (1.2, 1.39), "AOBgr": (1.2, 1.39)}
_PROGRAMME_SD, _EFFICIENCY_SD = 0.3, 0.1
# How much of a neighbouring region's programme a region shares.
_SHARED = (("EPL", "GL", 0.4), ("IPL", "GCL", 0.5), ("RMS", "GCL", 0.3), ("MCL", "EPL", 0.3))
# RNA in a spot, relative to the nerve layer: cell bodies hold more than fibres.
_DEPTH = np.array([1.0, 1.6, 1.1, 2.4, 1.7, 2.4, 2.0, 1.9, 2.3])
_BORDER_UM = 35.0
"""How far cells of a region lie beyond its border, as a standard deviation."""
_DRAWS = 12
"""Places around a spot from which it captures RNA."""

# In micrometres: outline, thickness of the five shells around the granule cells, core.
_OUTLINE = (1080.0, 1330.0)
_THICKNESS = (110.0, 120.0, 170.0, 56.0, 58.0)
_CORE = (150.0, 430.0)
# Accessory bulb: its angle (radians), and for each of its two parts the depth below the surface,
# the half width along it and the half height. The second covers the top of the first.
_LENS_ANGLE = 1.02
_LENSES = {_AOBGR: (340.0, 430.0, 225.0), _AOB: (178.0, 500.0, 165.0)}
_MARGIN, _PX_PER_UM = 130.0, 0.22


@dataclass(frozen=True)
class _Platform:
    """What one technology does to a section: where it samples, in which unit, how it counts."""

    stream: int  # own random stream: the size of one slice does not change the other
    scattered: bool
    has_aob: bool
    degrees: float
    units_per_um: float
    spot_um: float
    library: float
    library_sd: float
    reach_um: float
    ambient: float


_PLATFORMS = (
    _Platform(1, True, True, 0.0, 1.0, 10.0, 1500.0, 0.45, 13.0, 0.10),
    _Platform(2, False, False, 26.0, 2.0, 25.0, 2200.0, 0.35, 17.0, 0.14),
)


class _Section:
    """One animal's bulb on its slide: an egg of irregular shells, in micrometres from a corner.

    The anatomy is laid out around the bulb's centre (x lateral, y down) and turned on the slide.
    """

    def __init__(self, platform: _Platform, rng: np.random.Generator) -> None:
        self._has_aob = platform.has_aob
        self._theta = np.linspace(-np.pi, np.pi, 1441)
        self._radii = self._draw_shells(rng)
        turn = np.deg2rad(platform.degrees)
        self._turn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        rim = np.column_stack([np.cos(self._theta), -np.sin(self._theta)]) * self._radii[0][:, None]
        rim = rim @ self._turn
        self._centre = _MARGIN - rim.min(axis=0)
        self.size: Floats = np.ptp(rim, axis=0) + 2 * _MARGIN

    def _draw_shells(self, rng: np.random.Generator) -> Floats:
        """Radii of the seven outer borders, outline first, at ``_theta``."""
        theta, orders = self._theta, np.arange(2, 9)[:, None]
        amplitudes = rng.normal(0.0, 0.11, (7, 7, 1)) / orders**0.7
        phases = rng.uniform(0, 2 * np.pi, (7, 7, 1))
        wobble = (amplitudes * np.cos(orders * theta + phases)).sum(axis=1)
        thickness = np.array(_THICKNESS)[:, None] * (1 + wobble[1:6])
        thickness[0] *= 1 + 0.4 * np.cos(theta + 2.2)  # nerve fibres enter below and medially
        # Glomeruli give the inner border of their layer a scalloped shape.
        thickness[1] += 14.0 * (np.abs(np.sin(32 * theta + 3 * wobble[0])) - 0.6)
        egg = 1.0 + 0.03 * np.sin(3 * theta + 0.5) + 0.2 * wobble[0]
        outline = _ellipse(_OUTLINE, theta) * egg
        core = _ellipse(_CORE, theta) * (egg + 0.4 * wobble[6])
        return np.vstack([outline, outline - thickness.cumsum(axis=0), core])

    def polar(self, xy: Floats) -> tuple[Floats, Floats]:
        """Angle (radians, 0 lateral, positive upwards) and radius (µm) of slide positions."""
        x, y = ((xy - self._centre) @ self._turn.T).T
        return np.arctan2(-y, x), np.hypot(x, y)

    def regions(self, xy: Floats) -> Codes:
        """Code of the region at each slide position (n × 2, µm), -1 outside the tissue."""
        theta, radius = self.polar(xy)
        code = np.full(len(xy), -1)
        for shell in self._radii:
            code += radius < np.interp(theta, self._theta, shell)
        if self._has_aob:
            depth = np.interp(theta, self._theta, self._radii[0]) - radius
            along = (theta - _LENS_ANGLE) * (_OUTLINE[0] + 20 * np.sin(depth / 60))
            for region, (middle, half_width, half_height) in _LENSES.items():
                inside = np.hypot(along / half_width, (depth - middle) / half_height) < 1
                code[inside & (depth > 0)] = region
        return code

    def height(self, xy: Floats, shell: int) -> Floats:
        """Distance (µm) of slide positions above the outer border of the layer numbered `shell`."""
        theta, radius = self.polar(xy)
        return np.asarray(radius - np.interp(theta, self._theta, self._radii[shell]))

    def glomeruli(self, rng: np.random.Generator) -> Floats:
        """Slide positions (n × 2, µm) of the centres of glomeruli, one row along their layer."""
        theta = np.arange(-np.pi, np.pi, 0.094) + rng.uniform(-0.02, 0.02, 67)
        middle = self._radii[1:3].mean(axis=0)
        radius = np.interp(theta, self._theta, middle) + rng.normal(0, 9, len(theta))
        xy = np.column_stack([np.cos(theta), -np.sin(theta)]) * radius[:, None]
        return np.asarray(xy @ self._turn + self._centre)


def _ellipse(axes: tuple[float, float], theta: Floats) -> Floats:
    a, b = axes
    return np.asarray(a * b / np.hypot(b * np.cos(theta), a * np.sin(theta)))


def _draw_positions(section: _Section, scattered: bool, n: int, rng: np.random.Generator) -> Floats:
    """Exactly ``n`` slide positions (µm) in the tissue, scattered or on a square grid."""
    probe = rng.random((20_000, 2)) * section.size
    spacing = np.sqrt(np.prod(section.size) * (section.regions(probe) >= 0).mean() / n)
    shrink = 0.69 if scattered else 0.993
    while True:
        if scattered:
            n_tried = int(5.5 * np.prod(section.size) / spacing**2)
            xy = rng.random((n_tried, 2)) * section.size
        else:
            axes = [np.arange(0.5 * shrink * spacing, s, shrink * spacing) for s in section.size]
            xy = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        xy = xy[section.regions(xy) >= 0]
        if scattered:
            xy = xy[_keep_apart(xy, shrink * spacing)]
        if len(xy) >= n:
            return np.asarray(xy[np.sort(rng.choice(len(xy), n, replace=False))])
        shrink *= 0.98


def _keep_apart(xy: Floats, distance: float) -> NDArray[np.bool_]:
    """Mark the positions that stay if, in turn, each must be ``distance`` from those that stayed.

    The same result is reached in a few rounds over all pairs at once: a position stays when no
    neighbour before it is undecided, and this decides its other neighbours.
    """
    from scipy.spatial import cKDTree

    pairs = cKDTree(xy).query_pairs(distance, output_type="ndarray")
    early, late = pairs.min(axis=1), pairs.max(axis=1)
    stays, open_ = np.zeros(len(xy), bool), np.ones(len(xy), bool)
    while open_.any():
        free = open_.copy()
        free[late] = False
        stays |= free
        open_ &= ~free
        open_[late[free[early]]] = False
        live = open_[early] & open_[late]
        early, late = early[live], late[live]
    return stays


def _draw_programmes(n_genes: int, rng: np.random.Generator) -> tuple[NDArray[np.str_], Floats]:
    """Gene names and the expression of each gene in each pure region (9 × genes, rows sum to 1)."""
    marked = list(dict.fromkeys(" ".join(_MARKERS.values()).split()))
    families = _FAMILIES.split()
    fillers = [f.format(i) for i in range(1, n_genes // len(families) + 2) for f in families]
    names = np.array(marked + fillers)[:n_genes]
    change = np.zeros((len(_REGIONS), n_genes))
    base = rng.normal(0.0, 1.3, n_genes)
    base[: len(marked)] = rng.normal(*_MARKER_LEVEL, len(marked))
    for code in range(len(_REGIONS)):
        moderate = rng.choice(np.arange(len(marked), n_genes), n_genes // 15, replace=False)
        change[code, moderate] += rng.normal(0.0, _PROGRAMME_SD, len(moderate))
    for region, other, share in _SHARED:
        change[_REGIONS.index(region)] += share * change[_REGIONS.index(other)]
    rises = np.zeros_like(change)
    for code, (region, genes) in enumerate(_MARKERS.items()):
        own = np.isin(names, genes.split())
        rises[code, own] = rng.uniform(*_RISES.get(region, _RISE), own.sum())
    change += rises
    # The accessory bulb has the same classes of cells as the main one: a few genes tell them apart.
    change[_AOB] = 0.6 * change[_MCL] + 0.4 * change[_GL] + rises[_AOB]
    change[_AOBGR] = change[_GCL] + rises[_AOBGR]
    rates = np.exp(base + change)
    order = rng.permutation(n_genes)
    return names[order], rates[:, order] / rates.sum(axis=1, keepdims=True)


def _mix_regions(
    section: _Section, xy: Floats, platform: _Platform, rng: np.random.Generator
) -> Floats:
    """Shares (n × 9) of the regions in what each spot captures, from nearby and as ambient RNA."""
    own = section.regions(xy)
    shares = np.zeros((len(xy), len(_REGIONS)))
    rows, reach = np.arange(len(xy)), float(np.hypot(platform.reach_um, _BORDER_UM))
    for _ in range(_DRAWS):
        code = section.regions(xy + rng.normal(0.0, reach, xy.shape))
        shares[rows, np.where(code < 0, own, code)] += 1 / _DRAWS
    return (1 - platform.ambient) * shares + platform.ambient * shares.mean(axis=0)


def _draw_counts(
    shares: Floats, rates: Floats, platform: _Platform, rng: np.random.Generator
) -> csr_matrix:
    """Negative-binomial counts (n × genes, float32) with the chemistry of one platform."""
    from scipy.sparse import csr_matrix, vstack

    n_genes = rates.shape[1]
    efficiency = np.exp(rng.normal(0.0, _EFFICIENCY_SD, n_genes))
    captured = rates * efficiency
    captured = (captured / (shares.mean(axis=0) @ captured).sum()).astype(np.float32)
    depth = shares @ _DEPTH
    library = (
        platform.library
        * depth
        / depth.mean()
        * np.exp(rng.normal(0.0, platform.library_sd, len(shares)))
    )
    blocks = []
    for start in range(0, len(shares), 2048):  # dense counts of 100,000 spots may not fit in memory
        block = slice(start, start + 2048)
        mean = (shares[block] * library[block, None]).astype(np.float32) @ captured
        # Negative binomial of dispersion 1: a geometric count, the floor of an exponential draw.
        draw = rng.standard_exponential(mean.shape, dtype=np.float32)
        blocks.append(csr_matrix(np.floor(draw / np.log1p(1 / mean))))
    return csr_matrix(vstack(blocks))


# Share of pixels on a nucleus, by region code; the last is the empty slide.
_NUCLEI = np.array([0.20, 0.26, 0.07, 0.50, 0.09, 0.42, 0.72, 0.17, 0.46, 0.0])
# Optical density of a nucleus and of the tissue between (red, green, blue): haematoxylin, eosin.
_HAEMATOXYLIN, _EOSIN = np.array([0.95, 1.05, 0.45]), np.array([0.06, 0.25, 0.12])


def _render_image(section: _Section, dark: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Stained section (rows × columns × 3), light with dark nuclei, or the reverse if ``dark``."""
    from scipy.ndimage import gaussian_filter, zoom

    width, height = np.ceil(section.size * _PX_PER_UM).astype(int)

    def noise(sigma: float) -> Floats:
        step = max(1.0, sigma / 3)  # wide noise is drawn coarsely: the filter's cost grows with it
        coarse = rng.standard_normal((int(height / step) + 2, int(width / step) + 2))
        smooth = gaussian_filter(coarse, sigma / step)
        smooth = zoom(smooth, step, order=1, grid_mode=False)[:height, :width]
        return np.asarray(smooth / smooth.std())

    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    xy = np.column_stack([columns.ravel(), rows.ravel()]) / _PX_PER_UM
    code = section.regions(xy)
    density = _NUCLEI[code] * _texture(section, xy, code, noise(9).ravel(), rng)
    density = density.reshape(height, width) * (1 + 0.15 * noise(5))
    nuclei = gaussian_filter((rng.random((height, width)) < density).astype(float), 0.75)
    tissue = gaussian_filter((code >= 0).reshape(height, width).astype(float), 0.8)
    matrix = tissue * (1 + 0.10 * noise(2) + 0.12 * noise(25))
    glare = 1 + 0.012 * noise(40)
    if dark:
        light = 10 * glare + 42 * matrix + 190 * nuclei * (1 + 0.1 * noise(30))
        image = light[..., None] * np.array([0.93, 0.97, 1.0])
    else:
        stain = nuclei[..., None] * _HAEMATOXYLIN + matrix[..., None] * _EOSIN
        image = 244 * glare[..., None] * np.exp(-stain)
    return np.asarray(np.clip(image, 0, 255).astype(np.uint8))


def _texture(
    section: _Section, xy: Floats, code: Codes, wave: Floats, rng: np.random.Generator
) -> Floats:
    """Factor on the density of nuclei: islets of granule cells, rims around glomeruli."""
    from scipy.spatial import cKDTree

    factor = np.ones(len(xy))
    granular = np.isin(code, (_GCL, _AOBGR))
    rows = section.height(xy[granular], _GCL) / 7 + 2.5 * wave[granular]
    factor[granular] = 1 + 0.4 * np.cos(rows) * np.clip(1 + 0.7 * wave[granular][::-1], 0, 1.6)
    mitral = code == _MCL
    factor[mitral] = 0.3 + 1.6 * np.exp(-((section.height(xy[mitral], _MCL) / 16 + 1.75) ** 2))
    layer = code == _GL
    centres = section.glomeruli(rng)
    distance, nearest = cKDTree(centres).query(xy[layer])
    factor[layer] = np.where(distance < rng.uniform(30, 46, len(centres))[nearest], 0.25, 2.1)
    return factor


def _draw_barcodes(n: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """Return ``n`` different sequences of 14 bases."""
    codes = np.unique(rng.integers(0, 4**14, n + n // 100 + 20))
    codes = rng.permutation(codes)[:n, None]
    letters = np.array(list("ACGT"))[codes // 4 ** np.arange(14) % 4]
    return np.ascontiguousarray(letters).view("U14").ravel()


def _simulate(
    platform: _Platform, n: int, names: NDArray[np.str_], rates: Floats, seed: int
) -> AnnData:
    """One slice of ``n`` spots; ``names`` and ``rates`` come from `_draw_programmes`."""
    import pandas as pd
    from anndata import AnnData

    rng = np.random.default_rng([seed, platform.stream])
    section = _Section(platform, rng)
    image = _render_image(section, not platform.scattered, rng)
    # Each platform's gene list lacks different genes that mark nothing: every second, in order.
    unmarked = np.flatnonzero(~np.isin(names, " ".join(_MARKERS.values()).split()))
    kept = np.delete(np.arange(len(names)), unmarked[platform.stream :: 2][: len(names) // 37])
    xy = _draw_positions(section, platform.scattered, n, rng)
    shares = _mix_regions(section, xy, platform, rng)
    region = pd.Categorical.from_codes(section.regions(xy), list(_REGIONS), ordered=True)
    adata = AnnData(
        _draw_counts(shares, rates[:, kept], platform, rng),
        obs=pd.DataFrame({"region": region}, index=_draw_barcodes(n, rng)),
        var=pd.DataFrame(index=names[kept]),
        obsm={"spatial": xy * platform.units_per_um},
    )
    adata.uns["region_colors"] = list(_COLORS)
    scales = {
        "tissue_lowres_scalef": _PX_PER_UM / platform.units_per_um,
        "spot_diameter_fullres": platform.spot_um * platform.units_per_um,
    }
    library = SLICE_NAMES[platform.stream - 1]
    adata.uns["spatial"] = {library: {"images": {"lowres": image}, "scalefactors": scales}}
    return adata


def sample_slices(name: str | None = None) -> list[tuple[str, AnnData]]:
    """Name and AnnData of the simulated slices, marked as simulated.

    Parameters
    ----------
    name
        Only this slice.

    Raises
    ------
    InputError
        There is no slice of that name.
    """
    from napari_staligner.core.result.provenance import SAMPLE, mark_source
    from napari_staligner.core.result.source import Source

    if name is not None and name not in SLICE_NAMES:
        raise InputError(f"There is no sample slice {name!r}: choose {' or '.join(SLICE_NAMES)}.")
    slices = list(zip(SLICE_NAMES, simulated_olfactory_bulb(), strict=True))
    for each, adata in slices:
        mark_source(adata, Source(SAMPLE + each))
    return [part for part in slices if name in (None, part[0])]


def simulated_olfactory_bulb(
    *, seed: int = 0, n_slide_seq: int = 6000, n_stereo_seq: int = 5000, n_genes: int = 1500
) -> list[AnnData]:
    """Simulate sections of two mouse olfactory bulbs, one for each technology.

    The Slide-seqV2 section has scattered beads and shows the accessory olfactory bulb; the
    Stereo-seq section has a regular grid of bins, is turned by 26° and lacks it. Counts are
    negative-binomial. A spot also captures RNA of neighbouring layers, and each platform has its
    own efficiency for each gene, so the two separate unless they are integrated.

    Parameters
    ----------
    seed
        Random seed: the same arguments give the same slices, bit for bit.
    n_slide_seq, n_stereo_seq
        Spots of each slice, 50 or more. The tissue has the same size; more spots lie closer.
    n_genes
        Genes of both slices together, 300 or more. Each slice lacks about 1 in 37, different ones.

    Returns
    -------
    The slices, in the order of `SLICE_NAMES`. Each has

    `X` : csr_matrix, float32
        Counts (spots × genes), whole numbers.
    `obs["region"]` : ordered categorical
        True region: ONL, GL, EPL, MCL, IPL, GCL, RMS, AOB or AOBgr; all nine are categories.
    `obsm["spatial"]` : float64, spots × 2
        x to the right and y down, in micrometres (Slide-seqV2) or half micrometres
        (Stereo-seq).
    `uns["region_colors"]` : list of nine hexadecimal colours
    `uns["spatial"][<slice name>]`
        `images["lowres"]` (uint8, rows × columns × 3) and `scalefactors`: coordinates times
        `tissue_lowres_scalef` are pixels; `spot_diameter_fullres` is in units of the coordinates.

    Raises
    ------
    ValueError
        If fewer than 50 spots or 300 genes are requested.
    """
    sizes = (n_slide_seq, n_stereo_seq)
    for name, n in zip(SLICE_NAMES, sizes, strict=True):
        if n < _MIN_SPOTS:
            raise ValueError(f"{name}: {n} spots cannot show nine regions; ask for {_MIN_SPOTS}.")
    if n_genes < _MIN_GENES:
        raise ValueError(f"n_genes={n_genes} leaves no room for markers; ask for {_MIN_GENES}.")
    names, rates = _draw_programmes(n_genes, np.random.default_rng([seed, 0]))
    return [_simulate(p, n, names, rates, seed) for p, n in zip(_PLATFORMS, sizes, strict=True)]


def write_sample(folder: Path, **kwargs: int) -> list[Path]:
    """Write the simulated slices as ``Slide-seqV2.h5ad`` and ``Stereo-seq.h5ad``.

    Parameters
    ----------
    folder
        Target folder, created if missing. Files of these names are replaced.
    **kwargs
        As for `simulated_olfactory_bulb`.

    Returns
    -------
    The two paths, in the order of `SLICE_NAMES`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.h5ad" for name in SLICE_NAMES]
    for path, adata in zip(paths, simulated_olfactory_bulb(**kwargs), strict=True):
        # Not by io/writing.py, which this may not import: only tests write the sample to files.
        adata.write_h5ad(path)
    return paths
