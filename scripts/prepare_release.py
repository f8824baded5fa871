#!/usr/bin/env python3
"""Makes a checkout of a tag ready to be built for PyPI, where no link leads into the repository.

    scripts/prepare_release.py ADDRESS TAG

ADDRESS is where the repository is seen, https://FORGE/OWNER/NAME. The links of README.md are
written in full, pyproject.toml gets [project.urls], and recipe/meta.yaml its home and its
maintainer, the owner. These files are changed and not meant to be committed: the workflow of
releases runs this, and is the one place that knows the address. Ends with exit code 2 and changes
nothing if the tag, pyproject.toml, CITATION.cff, recipe/meta.yaml and CHANGELOG.md do not name the
same version.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|mailto:|#)(?P<path>[^)\s]+)\)")
BEFORE = "\n[project.scripts]\n"
NOBODY = "  recipe-maintainers: []\n"


def project_version(root: Path) -> str:
    """Return the version that pyproject.toml names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def wrong_versions(root: Path, tag: str) -> list[str]:
    """Return a sentence for each place that names another version than pyproject.toml."""
    version = project_version(root)
    wrong = (
        [] if tag == f"v{version}" else [f"The tag of version {version} is v{version}, not {tag}."]
    )
    for name, line in {
        "CITATION.cff": f"version: {version}",
        "recipe/meta.yaml": f'{{% set version = "{version}" %}}',
        "CHANGELOG.md": f"## [{version}]",
    }.items():
        if not re.search(f"^{re.escape(line)}", (root / name).read_text(encoding="utf-8"), re.M):
            wrong.append(f"{name} has no line {line!r}.")
    return wrong


def with_full_links(text: str, address: str, tag: str) -> str:
    """Return Markdown whose links into the repository are written in full."""

    def full(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['text']}]({address}/{kind}/{tag}/{found['path']})"

    return LINK.sub(full, text)


def with_urls(text: str, address: str, tag: str) -> str:
    """Return the text of pyproject.toml with [project.urls]; the same text if it has them."""
    if "\n[project.urls]\n" in text:
        return text
    urls = {
        "Source": address,
        "Documentation": f"{address}/blob/{tag}/docs/tutorial.md",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    table = "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    before, found, after = text.partition(BEFORE)
    if not found:
        raise ValueError("pyproject.toml has no [project.scripts]")
    return f"{before}\n[project.urls]\n{table}{found}{after}"


def with_home(text: str, address: str, tag: str) -> str:
    """Return the text of the recipe with the project's address and its maintainer."""
    owner = address.rstrip("/").split("/")[-2]
    text = re.sub(r"(?m)^about:\n(?!  home:)", f"about:\n  home: {address}\n", text)
    return text.replace(NOBODY, f"  recipe-maintainers:\n    - {owner}\n")


def prepare(root: Path, address: str, tag: str) -> list[str]:
    """Write the files, or return what is wrong."""
    address = address.rstrip("/")
    wrong = wrong_versions(root, tag)
    if not wrong:
        changes = {
            "README.md": with_full_links,
            "pyproject.toml": with_urls,
            "recipe/meta.yaml": with_home,
        }
        for name, change in changes.items():
            path = root / name
            path.write_text(
                change(path.read_text(encoding="utf-8"), address, tag), encoding="utf-8"
            )
    return wrong


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    problems = prepare(Path(__file__).resolve().parents[1], *sys.argv[1:])
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(2 if problems else 0)
