"""Verdicts on an alignment, in the file and in the session."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import anndata as ad
import numpy as np
import pytest
from fakes import fake_result, fake_session

from napari_staligner import _keys as K
from napari_staligner._errors import InputError
from napari_staligner.core.result import verdicts as V
from napari_staligner.core.settings import Settings
from napari_staligner.io.h5ad import slices_of_result, write_result

PAIR = ("slice1", "slice2")


@pytest.fixture
def adata():
    return fake_result()[1]


def test_a_verdict_says_about_what_who_and_when(adata):
    given = V.add_verdict(adata, "partly", pair=PAIR, domain="2", note=" edges ", who="Ada")
    assert (given.first, given.second, given.domain) == (*PAIR, "2")
    assert (given.level, given.note, given.who) == ("partly", "edges", "Ada")
    assert given.spots == int((adata.obs[K.DOMAIN] == "2").sum())
    assert given.about == "domain 2, slice1 – slice2"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(given.when)) < timedelta(seconds=5)
    assert V.read_verdicts(adata) == (given,)
    assert given.pair == PAIR


def test_without_a_name_it_is_the_login_names(adata, monkeypatch):
    monkeypatch.setenv("LOGNAME", "grace")
    assert V.add_verdict(adata, "not").who == "grace"
    assert V.add_verdict(adata, "not", who="").who == ""


def test_verdicts_come_back_from_a_file_in_their_order(adata, tmp_path):
    given = [
        V.add_verdict(adata, "aligned", pair=PAIR),
        V.add_verdict(adata, "not", domain="1", note="γ and, “quotes”\nand a line"),
        V.add_verdict(adata, "partly"),
    ]
    back = ad.read_h5ad(write_result(adata, tmp_path / "out.h5ad"))
    assert list(V.read_verdicts(back)) == given
    frame = V.verdict_frame(V.read_verdicts(back))
    assert list(frame["level"]) == ["aligned", "not", "partly"]
    assert list(frame.columns) == list(V.COLUMNS)
    assert all(K.STALIGNER not in part.uns for _, part in slices_of_result(back))


def test_the_last_one_gone_leaves_no_slot(adata):
    V.add_verdict(adata, "aligned")
    V.write_verdicts(adata, ())
    assert K.VERDICTS not in adata.uns[K.STALIGNER]
    assert V.read_verdicts(adata) == ()


def test_what_another_program_left_there_is_no_verdict(adata):
    adata.uns[K.STALIGNER][K.VERDICTS] = {"a": 1}
    assert V.read_verdicts(adata) == ()


@pytest.mark.parametrize(
    ("level", "about", "sentence"),
    [
        ("good", {}, "one of 'aligned', 'partly', 'not', not 'good'"),
        ("not", {"domain": "9"}, "no '9' in obs['domain'] to judge: choose one of '1', '2'"),
        ("not", {"pair": ("slice1", "x")}, "no 'x' in obs['slice']"),
        ("not", {"pair": ("slice1", "slice1")}, "'slice1' cannot be judged against itself"),
    ],
)
def test_what_is_not_there_is_not_judged(adata, level, about, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        V.add_verdict(adata, level, **about)
    assert V.read_verdicts(adata) == ()


def test_a_verdict_on_other_domains_is_told_apart(adata):
    given = V.add_verdict(adata, "aligned", domain="2")
    whole = V.add_verdict(adata, "aligned", pair=PAIR)
    assert V.is_current(adata, given)
    adata.obs.loc[adata.obs_names[:40], K.DOMAIN] = "2"
    assert not V.is_current(adata, given)
    assert V.is_current(adata, whole)
    adata.obs[K.DOMAIN] = adata.obs[K.DOMAIN].cat.rename_categories({"2": "other"})
    assert not V.is_current(adata, given)


# --- in the session


def test_the_session_tells_and_takes_back():
    session = fake_session()
    told = []
    session.verdicts.changed.connect(lambda: told.append(len(session.verdicts.given)))
    first = session.verdicts.give("aligned", PAIR, who="Ada")
    assert not session.saved
    second = session.verdicts.give("not", domain="1", who="Ada")
    session.saved = True
    assert session.verdicts.take_back() == second
    assert not session.saved
    assert session.verdicts.given == (first,)
    assert session.verdicts.take_back() == first
    assert session.verdicts.take_back() is None
    assert told == [1, 2, 1, 0]


def test_verdicts_follow_a_renamed_domain_and_its_undo():
    session = fake_session()
    session.verdicts.give("aligned", domain="2", who="Ada")
    before = session.domains.state()
    session.domains.rename("2", "mitral")
    assert session.verdicts.given[0].domain == "mitral"
    session.domains.restore(before)
    assert session.verdicts.given[0].domain == "2"
    # Other domains may bear the same names: then nothing is renamed.
    session.domains.relabel(np.arange(session.result.adata.n_obs) % 3, Settings(domains=3))
    other = session.domains.state()
    session.domains.restore(before)
    session.domains.restore(other)
    assert session.verdicts.given[0].domain == "2"


def test_a_session_without_a_result_has_no_verdicts():
    session = fake_session()
    session.verdicts.give("aligned", who="Ada")
    session.slices.clear()
    assert session.verdicts.given == ()
    with pytest.raises(InputError, match="integrate first"):
        session.verdicts.give("aligned")
