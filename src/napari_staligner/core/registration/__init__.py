"""From a shared embedding to a common frame: one transform for each slice.

``starts`` finds where to start, ``optimize`` brings the slices to where their embeddings agree,
``register`` does so pair by pair and then for all slices together, ``residuals`` says how far each
spot still is from its counterparts, ``warp`` is the smooth last step, ``anndata`` works on
integrated slices.
"""

from napari_staligner.core.registration.anndata import (
    Choice,
    record_registration,
    registration_job,
)
from napari_staligner.core.registration.register import (
    Registered,
    RegistrationJob,
    ResidualJob,
    measure,
    register_steps,
)
from napari_staligner.core.registration.transforms import Model, apply

__all__ = [
    "Choice",
    "Model",
    "Registered",
    "RegistrationJob",
    "ResidualJob",
    "apply",
    "measure",
    "record_registration",
    "register_steps",
    "registration_job",
]
