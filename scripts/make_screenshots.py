"""Take the pictures of the documentation, or the same pictures of other slices.

scripts/with_display.sh --hidden .venv/bin/python scripts/make_screenshots.py
… scripts/make_screenshots.py --into /tmp/pictures --domains 7 A.h5ad B.h5ad
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import typer

from napari_staligner.demo.run import DEMO, run_demo

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def main(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Slices, or one result; the sample if none.")
    ] = None,
    into: Annotated[Path, typer.Option(help="Folder for the pictures.")] = IMAGES,
    domains: Annotated[int, typer.Option(help="Number of domains.")] = DEMO.domains or 8,
) -> None:
    settings = replace(DEMO, domains=domains)
    # A folder of its own, where platformdirs looks on Linux: sessions that the user did not save
    # are offered in the docks, and would be in the pictures.
    with TemporaryDirectory() as own, patch.dict(os.environ, XDG_DATA_HOME=own):
        for path in run_demo(into, files=files or (), settings=settings):
            print(path)


if __name__ == "__main__":
    typer.run(main)
