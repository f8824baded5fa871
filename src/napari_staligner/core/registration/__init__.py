"""From a shared embedding to a common frame: one transform for each slice.

``choice`` holds the options, ``series`` the slices, ``sections`` what is compared of them.
``starts`` finds where to start, ``comparing`` says how two sections differ, ``optimize`` moves them
until they agree, ``pairs`` does so for a pair, ``register`` for each pair and then for all slices
together. ``residuals`` says how far each spot still is from its counterparts, ``warp`` is the
smooth last step, ``anndata`` works on integrated slices. Each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_staligner.core.registration.anndata import (
        record_registration as record_registration,
    )
    from napari_staligner.core.registration.anndata import registration_job as registration_job
    from napari_staligner.core.registration.choice import Choice as Choice
    from napari_staligner.core.registration.choice import Model as Model
    from napari_staligner.core.registration.measuring import measure as measure
    from napari_staligner.core.registration.register import RegistrationJob as RegistrationJob
    from napari_staligner.core.registration.register import ResidualJob as ResidualJob
    from napari_staligner.core.registration.register import register_steps as register_steps
    from napari_staligner.core.registration.series import Registered as Registered
    from napari_staligner.core.registration.transforms import apply as apply

_WHERE = {
    "Choice": "choice",
    "Model": "choice",
    "Registered": "series",
    "RegistrationJob": "register",
    "ResidualJob": "register",
    "apply": "transforms",
    "measure": "measuring",
    "record_registration": "anndata",
    "register_steps": "register",
    "registration_job": "anndata",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
