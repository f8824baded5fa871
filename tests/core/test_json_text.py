"""JSON nested without end is a sentence, wherever a file of a user holds it."""

import json

import pytest

from napari_staligner import InputError
from napari_staligner.core.json_text import DEEPEST, json_of
from napari_staligner.io.annotations.feature_classes import class_of, read_features
from napari_staligner.io.formats.pictures import read_json
from napari_staligner.io.session_file import read_record

ENDLESS = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", [ENDLESS, '{"a":' * 50_000, "[" * (DEEPEST + 1)])
def test_what_is_nested_without_end_is_a_value_error(text):
    with pytest.raises(ValueError, match="nested more than 200 deep"):
        json_of(text)
    assert read_record(text) is None


@pytest.mark.parametrize("content", [{"a": [1, {"b": None}]}, ["ä [" * 150], "text", [[]] * 5000])
def test_what_people_write_is_read(content):
    assert json_of(json.dumps(content)) == content
    assert json_of(json.dumps(content, ensure_ascii=False).encode()) == content


def test_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(f'{{"features": {ENDLESS}}}')
    with pytest.raises(InputError, match="nested more than 200 deep"):
        read_features(path)
    with pytest.raises(InputError, match="nested more than 200 deep"):
        read_json(path)


def test_a_class_that_is_no_readable_text_is_its_own_name():
    assert class_of({"classification": ENDLESS})[0]
