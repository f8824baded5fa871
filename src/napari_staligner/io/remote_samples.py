"""Real slices that can be fetched: where they are, under which licence, and how they are checked.

Addresses and checksums are those of public sources. A file of a repository is named by its commit;
its SHA-256, or the name that git gave its content, is that of the repository at this commit. For a
file whose checksum no public source tells, none is given: what was fetched first is kept in mind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from napari_staligner._errors import InputError

_GITHUB = "https://raw.githubusercontent.com"
_PILOT = f"{_GITHUB}/LieberInstitute/HumanPilot/044446d6bd8fc154aa74f7be62ec67effb1ec376/10X"
_SEDR = f"{_GITHUB}/JinmiaoChenLab/SEDR_analyses/00084465fa72cfccf54cee0d5b914cdadaee9961"
_ZENODO = "https://zenodo.org/records/12785822"
_PUCK = (
    "Slide-seqV2_stickels2020highly_stickels2021highly_SlideSeqV2_Mouse_Olfactory_bulb_"
    "Puck_200127_15_data_whole.h5ad"
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a sample.

    Parameters
    ----------
    name
        Its path in the folder of the sample.
    url
        Where it is.
    checksum
        ``sha256:…``, or ``git:…``, the name that git gives a content; empty if no public source
        tells any.
    size
        In bytes; 0 if no public source tells it.
    """

    name: str
    url: str
    checksum: str = ""
    size: int = 0


@dataclass(frozen=True)
class RemoteSample:
    """A slice that can be fetched.

    Parameters
    ----------
    name
        As it is called in the shell.
    title
        What it is, in a few words.
    licence
        Of the data, as the source tells it.
    page
        Where people read about it.
    cite
        The paper.
    files
        To be fetched.
    opened
        What is opened of its folder; empty for the folder itself.
    """

    name: str
    title: str
    licence: str
    page: str
    cite: str
    files: tuple[RemoteFile, ...]
    opened: str = ""

    @property
    def size(self) -> int:
        """Bytes of the files whose size is known."""
        return sum(file.size for file in self.files)

    @property
    def size_text(self) -> str:
        """Its size in words."""
        if all(file.size for file in self.files):
            return f"{self.size / 1e6:.1f} MB"
        return "told by the server"

    @property
    def told(self) -> str:
        """What a person should know before it is fetched."""
        return (
            f"{self.name}: {self.title}. Size: {self.size_text}. Licence: {self.licence}. "
            f"From {self.page}; cite {self.cite}."
        )

    @property
    def checked(self) -> str:
        """Which of its files are checked against a public checksum, in words."""
        n = sum(bool(file.checksum) for file in self.files)
        return "yes" if n == len(self.files) else f"{n} of {len(self.files)} files"


def _dlpfc(
    section: str, positions: str, factors: str, image: str, sizes: tuple[int, ...]
) -> RemoteSample:
    """One of the sections of cortex, in Space Ranger's layout."""
    counts = "https://spatial-dlpfc.s3.us-east-2.amazonaws.com/h5"
    beside = (
        ("tissue_positions_list.csv", "tissue_positions_list.txt", positions, sizes[0]),
        ("scalefactors_json.json", "scalefactors_json.json", factors, sizes[1]),
        ("tissue_lowres_image.png", "tissue_lowres_image.png", image, sizes[2]),
    )
    return RemoteSample(
        f"dlpfc-{section}",
        f"Human cortex (DLPFC), section {section}, Visium",
        "Artistic-2.0 (the repository's)",
        "https://github.com/LieberInstitute/HumanPilot",
        "Maynard et al., Nature Neuroscience 24, 425–436, 2021",
        (
            RemoteFile(
                "filtered_feature_bc_matrix.h5",
                f"{counts}/{section}_filtered_feature_bc_matrix.h5",
            ),
            *(
                RemoteFile(
                    f"spatial/{name}", f"{_PILOT}/{section}/{there}", f"sha256:{known}", size
                )
                for name, there, known, size in beside
            ),
        ),
    )


_SAMPLES = (
    RemoteSample(
        "slideseqv2-bulb",
        "Mouse olfactory bulb, Slide-seqV2, Puck_200127_15",
        "see its page on Zenodo",
        _ZENODO,
        "Stickels et al., Nature Biotechnology 39, 313–319, 2021",
        (RemoteFile("slideseqv2-bulb.h5ad", f"{_ZENODO}/files/{_PUCK}?download=1"),),
        "slideseqv2-bulb.h5ad",
    ),
    RemoteSample(
        "stereoseq-bulb",
        "Mouse olfactory bulb, Stereo-seq",
        "none stated by the repository",
        "https://github.com/JinmiaoChenLab/SEDR_analyses",
        "Chen et al., Cell 185, 1777–1792, 2022",
        (
            RemoteFile(
                "Stero-seq.tar.gz",
                f"{_SEDR}/data/Stero-seq.tar.gz",
                "git:5c37a3c21cf6aa82c4e2a692a7e71c656edcbb0e",
            ),
        ),
        "stereoseq-bulb.h5ad",
    ),
    _dlpfc(
        "151673",
        "c1ce0eafc855982bb2a9773f147ce6c5aef68dfd06600caa8a7e7a0e6f7cc5e8",
        "91c4beb9ca8145855a6a6df0a00eda6541931fc12d82d09cf8f01c9c15179dbc",
        "2ca692ceb00b205bd2f75182935a018753b08c63fbba7e142fd154db22547fcf",
        (186583, 162, 483861),
    ),
    _dlpfc(
        "151674",
        "bc8738299011382ad81a35d81c5bcb1546b17b5c10a5a6411baf9bc1f58acca7",
        "869be1c7c2bc7722b1858e1f41a491305264208d083d641786e6f102fc723bac",
        "ed3423433091926df71ff8470014be4da8e0df06ae23efbdd0d0d82b29debc21",
        (186575, 162, 466240),
    ),
    _dlpfc(
        "151675",
        "2c857eeddd96898d5d17bd066ee9f55fb8f0c7c7758cb8c26f71dc95d60024ff",
        "fce4c55751326c1bf9af0f87591a4bab1383fcab0b10714bf688d2eabf909dc6",
        "4adf842df9ad1f2769e1952f7129edbcb26fd0c2fb7f208dfca46ea54b9b6ce5",
        (186612, 163, 464619),
    ),
    _dlpfc(
        "151676",
        "2b655c9ead1fa5686ef9a49ab8452d56cd849dc1d15779b215e4f9726ebe55c0",
        "2ee6b05b734c39688792ca2d26b8558b59c116098fc184b579b500d3b8497afd",
        "c74f5d8386c5b6cfa9d6fb376256eed0dd6813e8f112ed257f81448c65c55f6b",
        (186592, 161, 451542),
    ),
)
SAMPLES: Mapping[str, RemoteSample] = MappingProxyType({each.name: each for each in _SAMPLES})
"""What can be fetched, by name."""
SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bulbs": ("slideseqv2-bulb", "stereoseq-bulb"),
        "dlpfc": tuple(name for name in SAMPLES if name.startswith("dlpfc-")),
    }
)
"""Samples that belong together, by the name of all."""


def samples_named(names: Iterable[str]) -> list[RemoteSample]:
    """Return the samples with these names, or of these sets.

    Raises
    ------
    InputError
        There is none with such a name.
    """
    found: dict[str, RemoteSample] = {}
    for name in names:
        members = SETS.get(name.lower(), (name.lower(),))
        if not set(members) <= set(SAMPLES):
            raise InputError(
                f"There is no sample {name!r}: choose one of {', '.join([*SETS, *SAMPLES])}."
            )
        found |= {each: SAMPLES[each] for each in members}
    return list(found.values())
