"""The words of this program, each explained once: for the pages of documentation and for tips."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

TERMS: Mapping[str, str] = MappingProxyType(
    {
        "spot": "One measured place on the tissue: a Visium spot, a Slide-seq bead, a Stereo-seq "
        "bin, or a cell.",
        "slice": "One section of tissue: the spots that were measured together, with their "
        "coordinates and often a tissue image.",
        "spatial graph": "Which spots of one slice are neighbours on the tissue, by a radius or by "
        "a number of neighbours.",
        "embedding": "30 numbers for each spot, called z, that the model learns: spots that are "
        "alike in their genes and their surroundings lie close together, from whichever slice.",
        "integration": "Training the model so that the same tissue of different slices has the "
        "same place in the embedding.",
        "attention": "How much of a spot's representation comes from each neighbour, and from "
        "itself; the weights of a spot sum to 1.",
        "mutual nearest neighbours": "Two spots of different slices, each among the k nearest of "
        "the other in the embedding; also called matches.",
        "link": "A pair of mutual nearest neighbours, drawn as a line between the slices.",
        "triplet": "A spot, a match of it in another slice, and a random spot of its own slice: "
        "the training pulls the first two together and pushes the third away.",
        "domain": "A group of spots that are close in the embedding. A domain has the same name "
        "and colour in all slices.",
        "slice-specific": "A domain that one slice has, and every other slice has at most a "
        "quarter as often, by a permutation test over blocks of tissue.",
        "confidence": "How surely the other slices have the tissue that a spot lies in, 0 to 1: "
        "walks from the spot to the other slices and back come home (1) or do not (0).",
        "registration": "Bringing the slices into one frame: each is moved, turned and if need be "
        "mirrored, until spots that are alike lie on each other.",
        "residual": "How far a spot still lies from its counterpart in the other slices after "
        "registration, in spacings of the spots.",
        "stability": "How alike the domains are that equally likely divisions give, as a mean "
        "adjusted Rand index: 1 where no other division is as likely.",
        "iLISI": "Effective number of slices among the nearest spots in the embedding: higher "
        "means better mixed.",
        "cLISI": "Effective number of labels among the nearest spots in the embedding: 1 means "
        "that labels do not mix.",
        "ARI": "Adjusted Rand index: how well domains agree with labels; 1 is perfect, 0 is "
        "chance.",
        "verdict": "What a person says of a pair of slices or a domain: aligned, partly, or not.",
    }
)
"""Each term, and what it means in one sentence."""
