"""``python -m napari_staligner``, for programs such as ``torchrun`` that start a module."""

from napari_staligner.cli.app import app

if __name__ == "__main__":
    app()
