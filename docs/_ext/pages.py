"""Pages that are made from the code, so that they cannot tell anything else than the code.

Before Sphinx reads the sources, `_generated/` gets the pages of the shell, of the slots of AnnData
and of the glossary, and the moving picture of the first page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
GENERATED = "_generated"
FRAMES = (
    *("01-slices", "02-running", "04-domains-grid", "07-domains-of-one-slice", "09-alignment"),
    *("12-compare-checkerboard", "15-links", "18-annotate"),
)
"""Pictures that the moving picture shows one after the other."""
FRAME_WIDTH, FRAME_SECONDS = 800, 1.6


def _plain(text: str | None) -> str:
    """Help of the shell as Markdown: escapes of rich are taken away, pipes do not end a cell."""
    text = (text or "").replace("\\[", "[").replace("\n", " ")
    return re.sub(r"(?<![`\\])([|<*])", r"\\\1", text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _told(parameter: Any, context: Any) -> tuple[str, str]:
    names, told = parameter.get_help_record(context)
    if parameter.param_type_name == "argument":
        names = str(parameter.metavar or parameter.name.upper())
    return "`" + names.replace("|", "\\|") + "`", _plain(told)


def shell_page() -> str:
    """Return the page of the command line: each command with its arguments and options."""
    import typer

    from napari_staligner.cli.app import app

    group = typer.main.get_command(app)
    lines = [
        "# The shell",
        "",
        _plain(group.help),
        "",
        "Exit codes: 0, all went well; 2, the input is wrong, and a sentence on stderr says what "
        "and how to mend it; 1, something failed that should not; 130, cancelled.",
        "",
    ]
    for name, command in group.commands.items():
        context = command.make_context(name, [], resilient_parsing=True)
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        words = " ".join(str(p.metavar or p.name.upper()) for p in arguments)
        lines += [f"## {name}", "", _plain(command.help), ""]
        lines += ["```console", f"$ napari-staligner {name} {words} [OPTIONS]", "```", ""]
        described = [_told(p, context) for p in arguments if p.help]
        if described:
            lines += _table(("argument", "what it is"), described)
        if options:
            rows = [_told(p, context) for p in options]
            lines += _table(("option", "what it does"), rows)
    return "\n".join(lines)


def _constants(source: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, value and docstring of each key that a module defines."""
    body, section = ast.parse(source).body, ""
    sections = {
        number: found[1]
        for number, line in enumerate(source.splitlines(), 1)
        if (found := re.match(r"# -+ (.*?) -+$", line))
    }
    for node, after in pairwise(body):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)):
            continue
        section = next((sections[n] for n in sorted(sections, reverse=True) if n < node.lineno), "")
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield section, str(node.value.value), " ".join(str(after.value.value).split())


def slots_page() -> str:
    """Return the page of all keys that are written to AnnData."""
    import napari_staligner._keys as keys

    lines = [
        "# Every slot of AnnData",
        "",
        "What is written, and where; the table is made from the list that the code itself uses. "
        "[What comes out](../method.md#what-comes-out) says more of each.",
        "",
    ]
    rows: dict[str, list[tuple[str, str]]] = {}
    for section, value, told in _constants(Path(keys.__file__).read_text(encoding="utf-8")):
        told = told.replace("``", "`").replace("|", "\\|")
        rows.setdefault(section, []).append((f"`{value}`", told.replace(":class:", "")))
    for section, found in rows.items():
        title = section[:1].upper() + section[1:]
        lines += [f"## {title}", "", *_table(("key", "where, and what it is"), found)]
    return "\n".join(lines)


def glossary_page() -> str:
    """Return the page of the glossary, whose sentences the tips of the window share."""
    from napari_staligner.core.glossary import TERMS

    lines = ["# Glossary", "", "```{glossary}"]
    for term in sorted(TERMS, key=str.lower):
        lines += [term, f"  {TERMS[term]}", ""]
    return "\n".join([*lines[:-1], "```", ""])


PAGES = {"shell.md": shell_page, "slots.md": slots_page, "glossary.md": glossary_page}


def moving_picture(target: Path) -> None:
    """Make one moving picture of the pictures that `make docs` has taken."""
    from PIL import Image

    frames = []
    for name in FRAMES:
        with Image.open(DOCS / "images" / f"{name}.png") as picture:
            height = round(picture.height * FRAME_WIDTH / picture.width)
            frames.append(picture.convert("RGB").resize((FRAME_WIDTH, height)))
    frames[0].save(
        target,
        save_all=True,
        append_images=frames[1:],
        duration=int(1000 * FRAME_SECONDS),
        loop=0,
        quality=60,
    )


def write_pages(folder: Path) -> None:
    """Write all pages and the moving picture; a page that is the same stays untouched."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        path, text = folder / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    if not (folder / "tour.webp").exists():
        moving_picture(folder / "tour.webp")


def setup(app: Any) -> dict[str, Any]:
    """Make the pages before Sphinx looks for them."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / GENERATED))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
