"""Write docs/errors.md: every sentence by which an input is refused, from the code.

python scripts/list_errors.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src" / "napari_staligner"
PAGE = PROJECT / "docs" / "errors.md"
HEAD = """# Errors

What can be wrong with an input is said in one sentence, in the status line of a dock or on stderr
with exit code 2: first the cause, with the slice, the file and the slot; then the remedy. These are
all of them, made from the code by `scripts/list_errors.py`. What stands in ‹ › is filled in.

If something fails that is no fault of the input, the shell says "This failed" with exit code 1,
and a dock in its status line. Both name a file to attach to a report: versions, sentence and
traceback, without data. A button in the dock opens its folder.
"""
KINDS = ("InputError",)
KEYS = {
    node.target.id: node.value.value
    for node in ast.parse((SOURCE / "_keys.py").read_text(encoding="utf-8")).body
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
}
"""The keys of AnnData by the names of their constants."""


def template(node: ast.expr, texts: dict[str, str]) -> str:
    """Write the expression of a message as a text, with its variables in ‹ ›."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part, texts) for part in parts)
        case ast.FormattedValue(value=value):
            return template(value, texts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return template(left, texts) + template(right, texts)
        case ast.IfExp(body=body, orelse=other):
            return " or ".join(filter(None, (template(body, texts), template(other, texts))))
        case ast.Name(id=name) if name in texts:
            return texts[name]
        case ast.Name(id=name):
            return f"‹{name.strip('_').replace('_', ' ')}›"
        case ast.Attribute(value=ast.Name(id="K"), attr=name) if name in KEYS:
            return KEYS[name]
        case ast.Attribute(attr=name):
            return f"‹{name.strip('_').replace('_', ' ')}›"
        case ast.Call(func=ast.Name(id=name)) if f"{name}()" in texts:
            return texts[f"{name}()"]
        case ast.Call(args=[inner, *_]):
            return template(inner, texts)
        case ast.Call(func=called):
            return template(called, texts)
        case ast.Subscript(value=value):
            return template(value, texts)
        case _:
            return "‹…›"


def messages_in(function: ast.AST) -> dict[str, str]:
    """Texts that a function puts into variables before it raises them; the last one counts."""
    found: dict[str, str] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.JoinedStr() as value):
                found[name] = template(value, {})
            case ast.AugAssign(target=ast.Name(id=name), value=ast.JoinedStr() as value):
                found[name] = found.get(name, "") + template(value, {})
    return found


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a module, in their order."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    returned = {
        f"{function.name}()": template(node.value, {})
        for function in functions
        for node in function.body
        if isinstance(node, ast.Return) and isinstance(node.value, ast.JoinedStr | ast.BinOp)
    }
    seen: list[tuple[int, str]] = []
    for function in sorted(functions, key=lambda f: -f.lineno):
        texts = returned | messages_in(function)
        for node in ast.walk(function):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            raised = called and node.func.id in KINDS and node.args
            if raised and all(line != node.lineno for line, _ in seen):
                seen.append((node.lineno, template(node.args[0], texts)))
    yield from (text for _, text in sorted(seen))


def parted(sentence: str) -> tuple[str, str]:
    """Part a sentence into its cause and its remedy."""
    cause, colon, remedy = sentence.rpartition(": ")
    if not colon or cause == "Slice ‹name›":
        cause, colon, remedy = sentence.rpartition("; ")
    return (cause, remedy) if colon else (sentence, "")


def page() -> str:
    """Return the page."""
    lines = [HEAD]
    for path in sorted(SOURCE.rglob("*.py")):
        found = list(dict.fromkeys(sentences(path)))
        if not found:
            continue
        lines += [f"## `{path.relative_to(SOURCE)}`\n", "| cause | remedy |", "|---|---|"]
        for sentence in found:
            cells = (" ".join(cell.split()).replace("|", "\\|") for cell in parted(sentence))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
