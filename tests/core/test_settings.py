"""Every setting is said once, and what is said of it fits together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace

import pytest
from pydantic import TypeAdapter

from napari_staligner._errors import InputError
from napari_staligner.core.fields import described
from napari_staligner.core.settings import PRESETS, SETTINGS, Settings, parse_setting

FIELDS = described(Settings)
EACH = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)


@EACH
def test_it_has_a_label_a_tip_and_a_place_in_the_docstring(field):
    said = field.setting
    assert said.label
    assert len(said.tip) > 10
    assert not said.tip.endswith(".")
    assert f"\n{field.name} : " in Settings.__doc__
    # Where None is a value, people are told what it stands for.
    assert bool(said.unset) == field.optional


@EACH
def test_its_control_offers_nothing_that_is_refused(field):
    shown = field.setting.shown or ()
    for value in (*shown, *field.setting.titles):
        field.check(field.read(value))


@EACH
def test_its_control_offers_what_the_named_settings_and_presets_have(field):
    low, high = field.setting.shown or (float("-inf"), float("inf"))
    values = [getattr(named, field.name) for named in SETTINGS.values()]
    values += [p.values[field.name] for p in PRESETS.values() if field.name in p.values]
    for value in values:
        field.check(value)
        if field.setting.shown and value is not None:
            assert low <= value <= high
        if field.setting.titles:
            assert value in field.setting.titles


def test_no_two_settings_share_an_option_or_a_label():
    flags = [each.flag for each in FIELDS.values() if each.flag]
    labels = [each.setting.label for each in FIELDS.values()]
    assert len(set(flags)) == len(flags)
    assert len(set(labels)) == len(labels)


@EACH
def test_name_and_value_set_every_setting_of_one_word(field):
    if not field.plain:
        with pytest.raises(InputError, match=f"no setting '{field.name}'"):
            parse_setting(f"{field.name}=1")
        return
    number = field.setting.least or 1
    value = field.allowed[0] if field.allowed else {bool: 0, str: "cpu"}.get(field.kind, number)
    name, read = parse_setting(f"{field.name}={value}")
    assert (name, read) == (field.name, value)
    replace(SETTINGS["default"], **{name: read})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"radius": 0.0}, "Setting 'radius' is 0.0: give a positive number."),
        ({"epochs": "many"}, "Setting 'epochs' is 'many': give a whole number."),
        ({"components": 10.5}, "Setting 'components' is 10.5: give a whole number."),
        ({"smooth": "yes"}, "Setting 'smooth' is 'yes': give yes or no."),
        ({"precision": "half"}, "choose auto, float32 or bfloat16."),
        ({"seed": 2**32}, "give a number from 0 to 4294967295."),
        ({"radius": 1.0, "n_neighbors": 3}, "not both."),
        ({"epochs": 0, "pretrain_epochs": 0}, "train for at least 1 epoch."),
        ({"device": "tpu"}, "choose auto, cpu or cuda."),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_one_sentence(change, said):
    with pytest.raises(InputError) as caught:
        Settings(**change)
    assert str(caught.value).endswith(said)


def test_settings_are_a_frozen_dataclass_that_goes_to_json_and_back():
    settings = Settings(domains=7, device="cuda:1", pairs=(("A", "B"),), counts_layer="raw")
    assert Settings(**asdict(settings)) == settings
    assert hash(settings) == hash(replace(settings))
    with pytest.raises(FrozenInstanceError):
        settings.domains = 3
    # An order of fields, which may change, means nothing.
    with pytest.raises(TypeError):
        Settings(7)
    adapter = TypeAdapter(Settings)
    assert adapter.validate_json(adapter.dump_json(settings)) == settings
    assert adapter.validate_json('{"epochs": 3}') == Settings(epochs=3)
    with pytest.raises(ValueError, match="alpha"):
        adapter.validate_json('{"alpha": 3}')
