"""The documentation: its code runs, its links and pictures exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from snippets import code_blocks, run_page, shell_lines


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def test_a_page_runs_in_order_in_one_namespace(page: Path, tmp_path: Path) -> None:
    page.write_text(
        "\n".join(
            (
                "```python",
                "a = 2",
                "```",
                "% file: deep/three.txt",
                "```text",
                "3",
                "```",
                "",
                "1. In a list:",
                "",
                "   ```python",
                "   b = a * int(open('deep/three.txt').read())",
                "   ```",
                "",
                "```python",
                ">>> a + b",
                "8",
                ">>> c = 1",
                "```",
                "% not run: no such module",
                "```python",
                "import no_such_module",
                "```",
                "% exit code: 1",
                "```bash",
                "exo2micro status NoSuch DAPI",
                "```",
                "",
                "```console",
                "$ exo2micro params --json  # all",
                "{}",
                "```",
            )
        )
    )
    ran = run_page(page, tmp_path)
    assert (ran.names["a"], ran.names["b"], ran.names["c"]) == (2, 6, 1)
    (first, second) = ran.outputs
    assert "incomplete" in first[1]
    assert second[0].startswith("exo2micro params")
    assert "boundary_width" in second[1]


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("```python\n>>> 1 + 1\n3\n```", "Expected"),
        ("```bash\nexo2micro status NoSuch DAPI\n```", "exit code 1"),
        ("```bash\npip install x\n```", "only exo2micro is run here"),
        ("% not run:\n```bash\npip install x\n```", "gives no reason"),
    ],
)
def test_a_wrong_page_fails(
    page: Path, tmp_path: Path, code: str, complaint: str
) -> None:
    page.write_text(code)
    with pytest.raises(AssertionError, match=complaint):
        run_page(page, tmp_path)


def test_a_failing_line_is_named(page: Path, tmp_path: Path) -> None:
    page.write_text("Words.\n\n```python\na = 1\nraise ValueError('no')\n```\n")
    with pytest.raises(ValueError, match="no") as caught:
        run_page(page, tmp_path)
    assert caught.traceback[-1].lineno + 1 == 5


def test_shell_lines_are_joined_and_freed_of_comments(page: Path) -> None:
    page.write_text("```bash\n# first\nexo2micro run A \\\n    B\n```\n")
    (block,) = code_blocks(page)
    assert block.line == 2
    (line,) = shell_lines(block)
    assert line.split() == ["exo2micro", "run", "A", "B"]
