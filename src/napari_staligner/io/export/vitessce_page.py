"""The page that shows a configuration of Vitessce, and Vitessce's JavaScript on this machine.

A browser does not let a page in a folder read files next to it, but it lets it run scripts. So
each file of data and of JavaScript is also written as a script that passes its content on.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_staligner.io import user_folder

_log = logging.getLogger(__name__)

VITESSCE, REACT = "3.9.11", "18.3.1"
"""Versions that the page was tested with."""
PACKAGES = (f"vitessce@{VITESSCE}", f"react@{REACT}", f"react-dom@{REACT}")
_SECONDS = 300
_UNUSED = re.compile(r"(higlass|ReactNeuroglancer)-.*")
"""Views of other kinds of data, which are loaded only when they are shown."""
NO_JAVASCRIPT = (
    "The page has no JavaScript of Vitessce, so it shows nothing yet ({why}): install Node.js "
    "with npm, which fetches it, and export again; "
    f"or give vitessce.json to a page of Vitessce {VITESSCE}."
)


def write_page(draft: Path, config: Mapping[str, Any]) -> str:
    """Write ``index.html`` with everything that it needs.

    Parameters
    ----------
    draft
        The folder; its ``data`` are there.
    config
        Of Vitessce; its files are in ``data``.

    Returns
    -------
    A sentence if Vitessce's JavaScript could not be fetched; else empty.
    """
    scripts = []
    for path in sorted((draft / "data").iterdir()):
        text = base64.b64encode(path.read_bytes()).decode("ascii")
        script = path.with_name(f"{path.name}.js")
        script.write_text(
            f"keep({json.dumps(f'data/{path.name}')}, {json.dumps(text)});\n", "utf-8"
        )
        scripts.append(f"data/{script.name}")
    folder = draft / "javascript"
    folder.mkdir()
    try:
        first, others = _javascript(folder)
        why = ""
    except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError) as error:
        _log.info("Vitessce's JavaScript could not be fetched", exc_info=True)
        first, others, why = [], [], _why(error)
    named = [f"javascript/{name}" for name in others]
    tags = [f'<script src="{_quoted(name)}"></script>' for name in [*scripts, *named]]
    head = [f'<script src="javascript/{name}"></script>' for name in first]
    page = (
        _PAGE.replace("@HEAD@", "\n".join(head))
        .replace("@SCRIPTS@", "\n".join(tags))
        # This would end the script.
        .replace("@CONFIG@", json.dumps(config).replace("</", "<\\/"))
    )
    (draft / "index.html").write_text(page, encoding="utf-8")
    return NO_JAVASCRIPT.format(why=why) if why else ""


def _quoted(name: str) -> str:
    from html import escape
    from urllib.parse import quote

    return escape(quote(name))


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no npm on this machine"
    if isinstance(error, subprocess.TimeoutExpired):
        return "npm took too long"
    return "npm could not fetch it"


def _javascript(folder: Path) -> tuple[list[str], list[str]]:
    """Write Vitessce and React into a folder; return the files to run first, and the rest."""
    archives = _archives()
    first = []
    for package in ("react", "react-dom"):
        name = f"{package}.production.min.js"
        with tarfile.open(archives / f"{package}-{REACT}.tgz") as archive:
            (folder / name).write_bytes(_member(archive, f"package/umd/{name}"))
            (folder / f"{package}.LICENSE.txt").write_bytes(_member(archive, "package/LICENSE"))
        first.append(name)
    others = []
    with tarfile.open(archives / f"vitessce-{VITESSCE}.tgz") as archive:
        (folder / "vitessce.LICENSE.txt").write_bytes(_member(archive, "package/LICENSE"))
        names = [
            name for name in archive.getnames() if re.fullmatch(r"package/dist/[^/]+\.js", name)
        ]
        own = {Path(name).name for name in names}
        for name in names:
            base = Path(name).name
            if _UNUSED.fullmatch(base):
                continue
            text = _member(archive, name).decode("utf-8")
            # A script in memory has no folder that "./" could refer to.
            text = re.sub(
                r'((?:from|import) ?\(?)"\./([^"/]+)"',
                lambda found: f'{found[1]}"vitessce/{found[2]}"' if found[2] in own else found[0],
                text,
            )
            packed = base64.b64encode(text.encode("utf-8")).decode("ascii")
            (folder / base).write_text(
                f"keep({json.dumps(f'vitessce/{base}')}, {json.dumps(packed)});\n", "utf-8"
            )
            others.append(base)
    return first, others


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _archives() -> Path:
    """Folder with the packages; fetched by npm the first time."""
    kept = user_folder.cache_folder().parent / f"vitessce-{VITESSCE}"
    if kept.is_dir():
        return kept
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as place:
        draft = Path(place) / "packages"
        draft.mkdir()
        command = [npm, "pack", "--silent", "--pack-destination", str(draft), *PACKAGES]
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=_SECONDS)
        draft.rename(kept)
    return kept


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>napari-staligner</title>
<style>html, body, #root { height: 100%; margin: 0; font-family: sans-serif; }</style>
@HEAD@
<script>
const kept = {};
const keep = (name, base64) => { kept[name] = base64; };
</script>
</head>
<body>
<div id="root"><p>Loading …</p></div>
@SCRIPTS@
<script>
(async () => {
  const say = (text) => { document.getElementById("root").textContent = text; };
  if (!window.React || !kept["vitessce/index.min.js"]) {
    say("This page lacks the JavaScript of Vitessce: install Node.js, and export it again.");
    return;
  }
  const place = (parts, type) => URL.createObjectURL(new Blob(parts, { type }));
  const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const shim = (name) => place([
    `const it = window.${name}; export default it; export const {` +
    Object.keys(window[name]).filter((key) => /^[A-Za-z_]\\w*$/.test(key)).join(",") + "} = it;",
  ], "text/javascript");
  const imports = { react: shim("React"), "react-dom": shim("ReactDOM") };
  const files = {};
  for (const [name, base64] of Object.entries(kept)) {
    if (name.startsWith("vitessce/")) imports[name] = place([bytes(base64)], "text/javascript");
    else files[name] = place([bytes(base64)], "");
  }
  const map = document.createElement("script");
  map.type = "importmap";
  map.textContent = JSON.stringify({ imports });
  document.head.append(map);
  const config = @CONFIG@;
  for (const dataset of config.datasets)
    for (const file of dataset.files) file.url = files[file.url];
  try {
    const { Vitessce } = await import("vitessce/index.min.js");
    const root = window.ReactDOM.createRoot(document.getElementById("root"));
    const height = window.innerHeight;
    root.render(window.React.createElement(Vitessce, { config, height, theme: "light2" }));
  } catch (error) {
    say(`This page cannot be shown by this browser (${error}).`);
  }
})();
</script>
</body>
</html>
"""
