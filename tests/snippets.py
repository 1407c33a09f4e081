"""Run the code that the documentation shows, in the order in which it shows it.

A page's fenced blocks in Python run in one namespace; the lines of its shell blocks
that begin with ``exo2micro`` go through the command line. Both run in a folder that
the test has prepared. What cannot run says why, in the line above the block::

    % not run: needs a cluster

A block below ``% file: mine.json`` is written to that file instead. Commands end
with exit code 0, or with that of ``% exit code: 1`` above their block. Where MyST's
comments would be shown (the README), ``<!-- not run: ... -->`` says the same.
"""

from __future__ import annotations

import contextlib
import doctest
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app

__all__ = ["Block", "Ran", "code_blocks", "run_page", "shell_lines"]

PYTHON = ("python", "py", "pycon")
SHELL = ("bash", "console", "sh", "shell")
_REMARK = re.compile(r"(?:%|<!--)\s*(not run|file|exit code):\s*(.*?)\s*(?:-->)?\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of code; `line` is that of its first line of code."""

    language: str
    text: str
    line: int
    not_run_reason: str | None = None
    file: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Ran:
    """What a page has left: its Python names, and each command with its output."""

    names: dict[str, Any]
    outputs: list[tuple[str, str]]


def code_blocks(path: Path) -> list[Block]:
    """Return all blocks of code of a Markdown page; an indented one has language ""."""
    source = path.read_text("utf-8")
    lines = source.splitlines()
    blocks = []
    for token in MarkdownIt().parse(source):
        if token.type not in ("fence", "code_block") or token.map is None:
            continue
        remarks = dict(_remarks_above(lines, token.map[0]))
        language = token.info.split()[0].lower() if token.info.strip() else ""
        fenced = token.type == "fence"
        blocks.append(
            Block(
                language,
                token.content,
                token.map[0] + (2 if fenced else 1),
                remarks.get("not run"),
                remarks.get("file"),
                int(remarks.get("exit code", 0)),
            )
        )
    return blocks


def _remarks_above(lines: list[str], start: int) -> Iterator[tuple[str, str]]:
    for line in reversed(lines[:start]):
        found = _REMARK.match(line.strip())
        if found is None:
            return
        yield found[1], found[2]


def shell_lines(block: Block) -> list[str]:
    """Return the commands of a shell block, continued lines joined, no comments.

    In a ``console`` block with prompts (``$``) the other lines are output.
    """
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console" and any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if shlex.split(line, comments=True)]


def run_page(path: Path, folder: Path) -> Ran:
    """Run all of a page's Python and commands in a folder.

    Parameters
    ----------
    path : Path
        The Markdown page.
    folder : Path
        Becomes the current folder; holds what the page needs.

    Raises
    ------
    AssertionError
        If a command fails, prints other results than shown (``>>>``), or is none
        of ``exo2micro`` and not marked as not run.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs: list[tuple[str, str]] = []
    with contextlib.chdir(folder):
        for block in code_blocks(path):
            place = f"{path.name}, line {block.line}"
            if block.file is not None:
                target = Path(block.file)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text, "utf-8")
            elif block.not_run_reason is not None:
                assert block.not_run_reason, f"{place}: 'not run' gives no reason"
            elif block.language in PYTHON:
                _run_python(block, path, names)
            elif block.language in SHELL:
                for line in shell_lines(block):
                    outputs.append((line, _run_line(line, block.exit_code, place)))
    return Ran(names, outputs)


def _run_python(block: Block, path: Path, names: dict[str, Any]) -> None:
    if block.text.lstrip().startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            block.text, names, path.name, str(path), block.line - 1
        )
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        ended = runner.run(test, out=said.append, clear_globs=False)
        names.update(test.globs)
        assert not ended.failed, "".join(said)
        return
    # Blank lines before it: a traceback then names the line of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
    exec(code, names)


def _run_line(line: str, exit_code: int, place: str) -> str:
    words = shlex.split(line, comments=True)
    assert words[0] == "exo2micro", (
        f"{place}: only exo2micro is run here, found {line!r}; put "
        "'% not run: REASON' above the block, or run it in a test of its own"
    )
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, words[1:])
    assert result.exit_code == exit_code, (
        f"{place}: {line!r} ended with exit code {result.exit_code}:\n"
        f"{result.stdout}\n{result.stderr}"
    )
    return result.stdout
