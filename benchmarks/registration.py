"""How well slices are registered, with a known answer, by layers, and by residuals.

`thinned`: a DLPFC slice split in two by binomial thinning of its counts, one half turned by 137°,
mirrored and cropped to 70 %; the error is the distance to the true place in spot spacings.
`layers`: neighbouring DLPFC slices of a file of results, each turned at random and every second one
mirrored; the share of spots whose nearest spot in the neighbour bears the same layer. It takes any
series: `layers HER2.h5ad --key paper_cluster` shows the authors' own registration beside.
`breast`: four sections of a breast tumour; median residuals in spot spacings, and how well the most
variable genes, centred by section, correlate between spots and the nearest of the next section.
`disturbed`: the simulated sample and pairs of mouse bulbs, one slice turned, mirrored and scaled
between half and twice at random, registered twice: as they are, and with all numbers changed by
1e-7 of themselves on another kind of processor or with two threads; how far apart the two lie.
`triangles`: how far pairs that are registered alone contradict each other around each three slices
of a series, in spot spacings, for several factors of the last smoothing; it needs no labels.
`images`: the same for four mouse bulbs, without and with their tissue images.

One Procrustes fit on fixed matches, as the authors' release does, is shown beside. Slices without a
result get a quick embedding: principal components of neighbour-averaged log expression, centred by
slice.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from anndata import AnnData, read_h5ad
from scipy import sparse
from scipy.spatial import KDTree
from slices import DATA
from threadpoolctl import threadpool_limits

from napari_staligner import integrate, read_slices
from napari_staligner.core.prepare.graph import spacing, spatial_graph
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import (
    Choice,
    Model,
    Registered,
    RegistrationJob,
    apply,
    pairs,
    register_steps,
    registration_job,
)
from napari_staligner.core.registration.histology import histology_of_slices
from napari_staligner.core.registration.register import pairwise_steps
from napari_staligner.core.registration.transforms import (
    about,
    fit_points,
    inverse,
    turned,
)
from napari_staligner.core.settings import Settings
from napari_staligner.samples import simulated_olfactory_bulb

app = typer.Typer()
COMPONENTS, NEIGHBORS = 30, 50
ROUNDING = 1e-7
REGISTERED = "spatial_registered"
"""Slot of `obsm` with places in a frame that the authors of the slices found."""
BRIEF = Settings(
    pretrain_epochs=4,
    epochs=4,
    refresh=2,
    hidden=16,
    latent=6,
    mnn_k=10,
    seed=0,
    domains=2,
    precision="float32",
)
"""So brief that the cost of a registration has many hollows."""
Seeds = Annotated[int, typer.Option(help="Number of seeds.")]


def quick_embedding(slices: list[AnnData]) -> np.ndarray:
    """Principal components of neighbour-averaged log expression, centred by slice."""
    import scanpy as sc
    from sklearn.decomposition import PCA

    blocks = []
    for adata in slices:
        x = AnnData(sparse.csr_matrix(adata.X, dtype=np.float32), var=adata.var[[]])
        sc.pp.normalize_total(x, target_sum=1e4)
        sc.pp.log1p(x)
        graph = spatial_graph(adata.obsm["spatial"], Settings()).connectivities
        graph = graph + sparse.identity(graph.shape[0], format="csr")
        mean = sparse.diags(1 / np.asarray(graph.sum(axis=1)).ravel()) @ graph @ x.X
        blocks.append(np.asarray(mean.todense()))
    centred = [block - block.mean(axis=0) for block in blocks]
    return PCA(COMPONENTS, random_state=0).fit_transform(np.vstack(centred)).astype(np.float32)


def matches(z: np.ndarray, sizes: list[int]) -> sparse.csr_matrix:
    """Mutual nearest neighbours of all pairs of slices."""
    import torch

    from napari_staligner.core.training.triplets import mutual_nearest

    whole, rows = torch.as_tensor(z), torch.arange(len(z)).split(sizes)
    found = [mutual_nearest(whole, a, b, NEIGHBORS) for a, b in combinations(rows, 2)]
    first = np.concatenate([m.first.numpy() for m in found])
    second = np.concatenate([m.second.numpy() for m in found])
    ones = np.ones(2 * len(first), dtype=np.float32)
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    return sparse.csr_matrix((ones, ends), shape=(len(z), len(z)))


def timed(job: RegistrationJob) -> tuple[Registered, float]:
    """Register, and seconds of one core."""
    start = time.process_time()
    return finish(register_steps(job)), time.process_time() - start


def procrustes(job: RegistrationJob) -> dict[str, np.ndarray]:
    """One least-squares fit on the fixed matches of each slice with the one before it."""
    names, rows = list(job.coordinates), job.rows
    transforms = {names[0]: np.eye(3)}
    for before, name in pairwise(names):
        block = sparse.coo_matrix(job.mutual[rows[name], rows[before]])
        step = fit_points(
            job.coordinates[name][block.row], job.coordinates[before][block.col], Model.RIGID
        )
        transforms[name] = transforms[before] @ step
    return transforms


def thin(adata: AnnData, seed: int) -> tuple[AnnData, AnnData, np.ndarray]:
    """Two halves of the counts, the second moved and cropped; and its true places."""
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(adata.X, dtype=np.int64)
    half = counts.copy()
    half.data = rng.binomial(counts.data, 0.5)
    points = np.asarray(adata.obsm["spatial"], dtype=np.float64)
    angle = rng.uniform(0, 2 * np.pi)
    along = points @ [np.cos(angle), np.sin(angle)]
    kept = along <= np.quantile(along, 0.7)
    motion = about(points.mean(axis=0), turned(137, mirrored=True))
    first = AnnData(half, obsm={"spatial": points})
    second = AnnData((counts - half)[kept], obsm={"spatial": apply(motion, points[kept]) + 1000})
    return first, second, points[kept]


@app.command()
def thinned(seeds: Seeds = 20) -> None:
    """A slice split in two, with the answer known."""
    adata = read_h5ad(DATA / "DLPFC_151673.h5ad")
    unit, errors = spacing(adata.obsm["spatial"]), []
    for seed in range(seeds):
        first, second, truth = thin(adata, seed)
        z = quick_embedding([first, second])
        places = {"whole": first.obsm["spatial"], "cropped": second.obsm["spatial"]}
        mutual = matches(z, [first.n_obs, second.n_obs])
        job = RegistrationJob(places, z, mutual, seed=seed)
        found, seconds = timed(job)
        released = apply(procrustes(job)["cropped"], second.obsm["spatial"])
        ours, theirs = (
            float(np.median(np.linalg.norm(p - truth, axis=1))) / unit
            for p in (found.aligned[first.n_obs :], released)
        )
        errors.append((ours, theirs))
        print(f"{seed:2}: {ours:.3f}, one Procrustes fit {theirs:.2f}, {seconds:.1f} s", flush=True)
    ours, theirs = np.array(errors).T
    print(
        f"median error, largest of {seeds}: {ours.max():.3f}; one Procrustes fit {theirs.max():.2f}"
    )
    print(f"converged (below 0.5): {(ours < 0.5).sum()} of {seeds}")


def same_layer(a: np.ndarray, layer_a: np.ndarray, b: np.ndarray, layer_b: np.ndarray) -> float:
    """Share of the labelled spots of a whose nearest labelled spot of b bears the same layer."""
    known_a, known_b = layer_a != "nan", layer_b != "nan"
    _, near = KDTree(b[known_b]).query(a[known_a])
    return float((layer_b[known_b][near] == layer_a[known_a]).mean())


@app.command()
def layers(
    result: Annotated[Path, typer.Argument(help="Integrated DLPFC slices, .h5ad.")],
    seeds: Seeds = 20,
    key: str = "layer",
) -> None:
    """Neighbouring slices, each turned and every second one mirrored."""
    adata = read_h5ad(result)
    names = list(adata.obs["slice"].cat.categories)
    rows = [(adata.obs["slice"] == name).to_numpy() for name in names]
    truth = [adata.obs[key].astype(str).to_numpy()[r] for r in rows]
    points = [np.asarray(adata.obsm["spatial"], dtype=np.float64)[r] for r in rows]

    def shares(placed: list[np.ndarray]) -> list[float]:
        return [
            same_layer(placed[i], truth[i], placed[j], truth[j])
            for i, j in pairwise(range(len(names)))
        ]

    print("as they lie", np.round(shares(points), 3))
    if REGISTERED in adata.obsm:
        authors = [np.asarray(adata.obsm[REGISTERED], dtype=np.float64)[r] for r in rows]
        print("the authors' own", np.round(shares(authors), 3))
    ours, theirs = [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        moved = {
            name: apply(about(p.mean(axis=0), turned(rng.uniform(0, 360), mirrored=k % 2 == 1)), p)
            for k, (name, p) in enumerate(zip(names, points, strict=True))
        }
        job = RegistrationJob(
            moved, adata.obsm["STAligner"], adata.obsp["mutual_neighbors"].tocsr(), seed=seed
        )
        found, seconds = timed(job)
        released = procrustes(job)
        ours.append(shares([found.aligned[r] for r in rows]))
        theirs.append(shares([apply(released[n], moved[n]) for n in names]))
        print(
            f"{seed:2}: {np.round(ours[-1], 3)}, one Procrustes fit {np.round(theirs[-1], 3)}, "
            f"{seconds:.1f} s",
            flush=True,
        )
    for title, values in (("ours", ours), ("one Procrustes fit", theirs)):
        print(
            f"{title}: lowest {np.min(values, axis=0).round(3)}, mean "
            f"{np.mean(values, axis=0).round(3)}; of all pairs {np.mean(values):.3f} ± "
            f"{np.mean(values, axis=1).std():.3f} over the starts"
        )


def turned_job(job: RegistrationJob, seed: int) -> RegistrationJob:
    """Slices, each turned at random and every second one mirrored; their images stay theirs."""
    rng = np.random.default_rng(seed)
    moved = {
        name: apply(about(p.mean(axis=0), turned(rng.uniform(0, 360), mirrored=k % 2 == 1)), p)
        for k, (name, p) in enumerate(job.coordinates.items())
    }
    return replace(job, coordinates=moved, seed=seed)


def around(job: RegistrationJob) -> list[float]:
    """How far pairs that are registered alone contradict each other around each three slices.

    Median distance over the spots of the first, in spacings.
    """
    found = finish(pairwise_steps(job))
    ways = {pair: fit.way.matrix for pair, fit in found.found.items()}
    apart = []
    for a, b, c in combinations(range(len(found.names)), 3):
        way = inverse(ways[a, c]) @ ways[b, c] @ ways[a, b]
        points, step = found.sections[a].points, found.sections[a].step
        far = np.linalg.norm(apply(way, points) - points, axis=1)
        apart.append(float(np.median(far)) / step)
    return apart


@app.command()
def triangles(
    result: Annotated[Path, typer.Argument(help="Integrated slices, .h5ad.")], seeds: Seeds = 2
) -> None:
    """How far pairs contradict each other, by the factor of the last smoothing; without labels."""
    job = registration_job(read_h5ad(result), Choice())
    for factor in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        pairs.CLEAR = factor
        apart = [far for seed in range(seeds) for far in around(turned_job(job, seed))]
        print(f"{factor}: median {np.median(apart):.3f} of {len(apart)}", flush=True)


@app.command()
def images(seeds: Seeds = 3) -> None:
    """Four mouse bulbs without and with their tissue images."""
    job, histology = bulbs(1, 2, 3, 4), histology_of_slices(dict(read_bulbs(1, 2, 3, 4)))
    for title, known in (("without images", {}), ("with images", histology)):
        for seed in range(seeds):
            apart = around(turned_job(replace(job, histology=known), seed))
            print(f"{title}, {seed}: around three slices {np.round(apart, 2)}", flush=True)


@app.command()
def breast() -> None:
    """Residuals of four sections of a breast tumour."""
    slices = [read_h5ad(DATA / f"ST_breast_PASTE_slice{n}.h5ad") for n in range(1, 5)]
    genes = slices[0].var_names
    for adata in slices[1:]:
        genes = genes.intersection(adata.var_names)
    slices = [adata[:, genes].copy() for adata in slices]
    z, sizes = quick_embedding(slices), [adata.n_obs for adata in slices]
    places = {f"section {n}": a.obsm["spatial"] for n, a in enumerate(slices, 1)}
    chain = tuple(pairwise(places))
    job = RegistrationJob(places, z, matches(z, sizes), pairs=chain)
    found, seconds = timed(job)
    for name, rows in job.rows.items():
        print(
            f"{name}: median residual {np.nanmedian(found.residual[rows]):.2f} spacings, "
            f"{np.isfinite(found.residual[rows]).mean():.0%} of the spots overlap"
        )
    before = correlations(slices, list(places.values()))
    after = correlations(slices, [found.aligned[rows] for rows in job.rows.values()])
    print(f"correlation as they lie {np.round(before, 3)}, registered {np.round(after, 3)}")
    print(f"{seconds:.1f} s")


def correlations(slices: list[AnnData], places: list[np.ndarray], genes: int = 500) -> list[float]:
    """Mean correlation of log expression of each section with the next, centred by section."""
    import scanpy as sc

    logs = []
    for adata in slices:
        x = AnnData(sparse.csr_matrix(adata.X, dtype=np.float32))
        sc.pp.normalize_total(x, target_sum=1e4)
        sc.pp.log1p(x)
        logs.append(x.X.toarray())
    variable = np.argsort(-np.vstack(logs).var(axis=0))[:genes]
    centred = [log[:, variable] - log[:, variable].mean(axis=0) for log in logs]
    found = []
    for i, j in pairwise(range(len(slices))):
        far, near = KDTree(places[i]).query(places[j])
        over = far < 1.2 * spacing(places[i])
        pairs = zip(centred[j][over], centred[i][near[over]], strict=True)
        found.append(float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])))
    return found


def brief_sample() -> RegistrationJob:
    """A small simulated sample, hardly trained."""
    bulb = simulated_olfactory_bulb(seed=0, n_slide_seq=300, n_stereo_seq=250, n_genes=300)
    return registration_job(integrate(bulb, settings=BRIEF), Choice())


def read_bulbs(*numbers: int) -> list[tuple[str, AnnData]]:
    """Mouse bulbs by their numbers."""
    return read_slices([DATA / f"ST2k_MOB{n}.h5ad" for n in numbers])


def bulbs(*numbers: int) -> RegistrationJob:
    """Mouse bulbs with a quick embedding."""
    named = read_bulbs(*numbers)
    genes = sorted(set.intersection(*(set(adata.var_names) for _, adata in named)))
    slices = [adata[:, genes].copy() for _, adata in named]
    z = quick_embedding(slices)
    places = {n: np.asarray(s.obsm["spatial"], dtype=np.float64)[:, :2] for n, s in named}
    return RegistrationJob(places, z, matches(z, [adata.n_obs for adata in slices]))


def thrown(job: RegistrationJob, seed: int, rounding: float) -> RegistrationJob:
    """The second slice turned, mirrored, scaled and moved at random; each model by turns."""
    rng = np.random.default_rng(seed)
    (first, still), (second, points) = job.coordinates.items()
    scale = 2 ** rng.uniform(-1, 1)
    turn = turned(rng.uniform(0, 360), mirrored=bool(rng.integers(2)))
    motion = about(points.mean(axis=0), turn @ np.diag([scale, scale, 1.0]))
    moved = apply(motion, points) + rng.normal(size=2) * np.ptp(points)

    def rounded(values: np.ndarray) -> np.ndarray:
        return values * (1 + rounding * rng.normal(size=values.shape))

    return replace(
        job,
        coordinates={first: rounded(still), second: rounded(moved)},
        embedding=rounded(np.asarray(job.embedding, dtype=np.float64)),
        model=list(Model)[seed % len(Model)],
    )


def processors() -> list[tuple[dict[str, str], int]]:
    """Environments, each with a number of threads: kinds of arithmetic that this machine can do."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    kinds: list[dict[str, str]] = [{}, {"OPENBLAS_CORETYPE": "Haswell"}]
    if any(name == "X86_V4" or name.startswith("AVX512") for name in simd):
        kinds.append({"OPENBLAS_CORETYPE": "SkylakeX"})
    kinds.append({"NPY_DISABLE_CPU_FEATURES": " ".join(simd)})
    return [(kind, threads) for kind in kinds for threads in (1, 2)]


@app.command(hidden=True)
def part(folder: Path, threads: int, first: int, step: int, starts: int, rounding: float) -> None:
    """Register every so-manieth start of the job in a folder; what it finds is pickled there."""
    job: RegistrationJob = pickle.loads((folder / "job.pickle").read_bytes())
    found = {}
    with threadpool_limits(threads):
        for seed in range(first, starts, step):
            try:
                placed = finish(register_steps(thrown(job, seed, rounding)))
                found[seed] = placed.aligned, any(pair.doubt for pair in placed.trust)
            except Exception as error:
                found[seed] = repr(error)
    (folder / f"{rounding}-{first}.pickle").write_bytes(pickle.dumps(found))


def registered(
    folder: Path, kind: dict[str, str], threads: int, which: tuple[int, int, int], rounding: float
) -> dict[int, tuple[np.ndarray, bool] | str]:
    """Places and doubt, or the error, of some starts, in a process of their own."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | kind
    command = [sys.executable, "-W", "ignore", __file__, "part", str(folder), str(threads)]
    subprocess.run([*command, *map(str, which), str(rounding)], check=True, env=environment)
    return pickle.loads((folder / f"{rounding}-{which[0]}.pickle").read_bytes())


@app.command()
def disturbed(starts: int = 200) -> None:
    """Random starts, and numbers that are rounded otherwise: none fails, all lie the same."""
    jobs = {"sample": brief_sample()}
    if (DATA / "ST2k_MOB1.h5ad").exists():
        jobs |= {f"MOB{a} and {b}": bulbs(a, b) for a, b in pairwise(range(1, 5))}
    kinds = processors()
    for name, job in jobs.items():
        other = {}
        with TemporaryDirectory() as folder:
            (Path(folder) / "job.pickle").write_bytes(pickle.dumps(job))
            plain = registered(Path(folder), *kinds[0], (0, 1, starts), 0.0)
            for k, (kind, threads) in enumerate(kinds):
                which = (k, len(kinds), starts)
                other |= registered(Path(folder), kind, threads, which, ROUNDING)
        errors = [end for ends in (plain, other) for end in ends.values() if isinstance(end, str)]
        print(f"{name}: {starts} starts, {len(errors)} errors {sorted(set(errors))}", flush=True)
        unit = spacing(next(iter(job.coordinates.values())))
        every, sure = [], []
        for seed, end in plain.items():
            if not (isinstance(end, str) or isinstance(other[seed], str)):
                far = np.linalg.norm(end[0] - other[seed][0], axis=1)
                every.append(float(np.median(far)) / unit)
                if not (end[1] or other[seed][1]):
                    sure.append(every[-1])
        for title, apart in (("all", every), ("without a doubt that is said", sure)):
            shares = " ".join(f"{np.mean(np.array(apart) < x):.3f} < {x}" for x in (0.01, 0.1, 0.5))
            print(f"  {title} ({len(apart)}): {shares}; largest {max(apart, default=0.0):.2f}")


if __name__ == "__main__":
    app()
