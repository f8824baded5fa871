"""Where a run computes, on a GPU or on the processor, and how precisely."""

from __future__ import annotations

import torch

from napari_staligner._errors import InputError
from napari_staligner.core.outside import gpu_failure, out_of_memory

NO_ANSWER = (
    "The GPU does not answer ({why}), so the processor computes; start the program again to use "
    "the GPU."
)


def find_device(name: str) -> torch.device:
    """Device for a name: ``"auto"`` takes a GPU if there is one that answers.

    Raises
    ------
    InputError
        A GPU is asked for, and there is none or it does not answer.
    """
    if name == "auto":
        usable = torch.cuda.is_available() and not _silence()
        return torch.device("cuda" if usable else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InputError("Setting 'device' is 'cuda', but there is no CUDA GPU: choose 'cpu'.")
        if why := _silence():
            raise InputError(
                f"Setting 'device' is {name!r}, but the GPU does not answer ({why}): start the "
                "program again, or choose 'cpu'."
            )
    return torch.device(name)


def device_note(name: str) -> str | None:
    """Say that ``"auto"`` leaves out a GPU that is there; ``None`` if it does not."""
    why = _silence() if name == "auto" and torch.cuda.is_available() else ""
    return NO_ANSWER.format(why=why) if why else None


def _silence() -> str:
    """Why the GPU does not compute; empty if it does.

    After a failure of its driver it does not until the process ends.
    """
    try:
        torch.ones(1, device="cuda").item()
    except RuntimeError as error:
        return "" if out_of_memory(error) else gpu_failure(error) or type(error).__name__
    return ""


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """Type of matrix products: ``"auto"`` takes bfloat16 if the processor supports it natively."""
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return torch.bfloat16 if amx() else torch.float32
