"""From a shared embedding to a common frame: one transform for each slice.

``search`` finds where to start, ``refine`` brings the slices to where their embeddings agree,
``run`` does so pair by pair and then for all slices together, ``residuals`` says how far each
spot still is from its counterparts, ``warp`` is the smooth last step, ``tables`` works on
integrated slices.
"""

from napari_staligner.core.registration.alignment import Alignment, AlignmentState
from napari_staligner.core.registration.run import (
    Registered,
    RegistrationJob,
    measure,
    register_steps,
)
from napari_staligner.core.registration.tables import (
    Choice,
    record_registration,
    register,
    registration_job,
)
from napari_staligner.core.registration.transforms import Model, apply

__all__ = [
    "Alignment",
    "AlignmentState",
    "Choice",
    "Model",
    "Registered",
    "RegistrationJob",
    "apply",
    "measure",
    "record_registration",
    "register",
    "register_steps",
    "registration_job",
]
