"""The troubleshooting pages: every message is there, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from messages import HOLE, Message, all_messages

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "troubleshooting.md", *sorted((DOCS / "troubleshooting").glob("*.md")))

#: What the collector finds beside messages of trouble: news, labels, parts of others.
NEWS = (
    "Each arrow leads from a grain in post-stain to where aligned pre-stain shows it, "
    "drawn many times longer. Arrows that point every way are noise of the "
    "measuring; …",
    ". Run this stage again",
    "<number> runs, one for each value.",
    "Along the dashed line post is <number> × pre.",
    "Checking files, memory and disk …",
    "Click on the map to propose a scale by hand.",
    "Looking into <folder> …",
    "The raw folder has no images of this sample and dye.",
    "This arrow stands for <number> px. A displacement of 1 px would be an arrow …",
    "Waits for its turn.",
    "What is on disk is being looked at.",
    "Will be made again: <why>",
    "  (not the default)",
    "<number> of <number> test microbes found: half of those with a flux of <number> "
    "grey levels, 90 % of those with <number>; flux is measured <number> off",
    "how many were missed is not known: set test_microbes=2000",
    "microbes by flux: <numbers>",
    "microbes by region: <numbers>",
    "All are at their defaults.",
    "All at their defaults: the files have no ending.",
    "All its results are valid.",
    "All its results are valid. Force makes them anew.",
    "Expected accuracy: <accuracy>",
    "Files of this stage end in: <suffix>",
    "Files of this stage end in: <suffix>, short for many settings; the files …",
    "It has no results yet: run the stages to see them.",
    "Its results are in the layer list.",
    "Its results up to stage <number> are in the layer list: run the stages …",
    "Looking for results …",
    "Set to their defaults: <names>.",
    "The parameter '<name>' is now <value>.",
    "This plot shows earlier settings. <note>",
    "'<layer>' was drawn on the <side> image. A new layer shows it …",
    "<number> of <number> pairs are chosen.",
    "<pair> is open, and chosen in the workbench.",
    "Stopped. <number> of <number> pairs are finished and kept, and so is every …",
    "aligned pre-stain…",
    "all at their defaults",
    "all parameters at default",
    "derived from <what> of stage <number>",
    "interrupted",
    "no sample of ours",
    "not measured yet",
    "<what>; the others will run.",
    "one of <values> or None",
)

_ENTRY = re.compile(r"^- (`+)(.+?)\1$", re.MULTILINE)
_VARIABLE = re.compile(r"<[^<>]*>|…")
_LEAST_PART = 0.4


@dataclass(frozen=True)
class Entry:
    """One message as a page shows it."""

    text: str
    page: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What it fits: angle brackets and dots stand for anything."""
        parts = map(re.escape, _VARIABLE.split(self.text))
        return re.compile(".*?".join(parts), re.DOTALL)

    def fits(self, message: Message) -> bool:
        """Tell whether a message is this one, and not only ends like it."""
        if self.pattern.fullmatch(message.text) is None:
            return False
        shown = len(_letters(_VARIABLE.sub("", self.text)))
        return shown >= _LEAST_PART * len(_letters(message.text))


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text.replace(HOLE, ""))


def entries_in(text: str, page: str = "") -> list[Entry]:
    return [Entry(found[2], page) for found in _ENTRY.finditer(text)]


@cache
def entries() -> tuple[Entry, ...]:
    return tuple(
        entry
        for page in PAGES
        for entry in entries_in(page.read_text(encoding="utf-8"), page.name)
    )


@cache
def messages() -> tuple[Message, ...]:
    return tuple(all_messages())


def test_every_message_is_on_a_page() -> None:
    known = [*entries(), *map(Entry, NEWS)]
    missing = [
        str(message)
        for message in messages()
        if not any(entry.fits(message) for entry in known)
    ]
    assert not missing, "\n".join(
        ["no page of docs/troubleshooting tells of these messages:", *missing]
    )


def test_every_entry_is_a_message() -> None:
    known = [*entries(), *map(Entry, NEWS)]
    dead = [
        f"{entry.page}: {entry.text}"
        for entry in known
        if not any(entry.fits(message) for message in messages())
    ]
    assert not dead, "\n".join(["no module has these messages (any more):", *dead])


def test_no_message_is_told_twice() -> None:
    texts = [entry.text for entry in entries()]
    assert sorted(set(texts)) == sorted(texts)


# The collector ---------------------------------------------------------------


def collected(tmp_path: Path, code: str) -> list[str]:
    (tmp_path / "module.py").write_text(code, encoding="utf-8")
    return [m.text.replace(HOLE, "<>") for m in all_messages(tmp_path)]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("raise SomeError('wanted this, found that')", "wanted this, found that"),
        ("raise SomeError(f'wanted {n}, found many')", "wanted <>, found many"),
        ("raise SomeError('wanted this ' + 'and that')", "wanted this and that"),
        ("warnings.warn('the data look odd', W)", "the data look odd"),
        ("logger.warning('the data %s look odd', x)", "the data <> look odd"),
        ("self._message.error('choose a sample')", "choose a sample"),
        ("Verdict('failed', 'images do not agree')", "images do not agree"),
        ("reasons.append('images do not agree')", "images do not agree"),
        ("Result(problem='images do not agree')", "images do not agree"),
        ("def why_not():\n    return 'it is missing'", "it is missing"),
        (
            "_FIX = 'choose another'\nraise SomeError(f'{x} is wrong; {_FIX}')",
            "<> is wrong; choose another",
        ),
        (
            "def f():\n    text = 'it was moved away'\n    raise SomeError(text)",
            "it was moved away",
        ),
        (
            "def words(n):\n    return f'too small by {n}'\nraise SomeError(words(1))",
            "too small by <>",
        ),
    ],
)
def test_the_collector_finds_a_message(tmp_path: Path, code: str, found: str) -> None:
    assert collected(tmp_path, code) == [found]


def test_the_collector_leaves_alone_what_is_passed_on(tmp_path: Path) -> None:
    assert (
        collected(tmp_path, "raise SomeError(str(error))\nlabel('a long text')") == []
    )


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ("<file> is wrong; choose another", True),
        ("<file> is wrong; choose …", True),
        ("<file> is right; choose another", False),
        ("…other", False),
    ],
)
def test_an_entry_fits_its_message_only(shown: str, fits: bool) -> None:
    message = Message(f"{HOLE} is wrong; choose another", "module.py", 1)
    assert Entry(shown).fits(message) is fits
    assert entries_in(f"Words.\n\n- `{shown}`\n- `more` words\n") == [Entry(shown)]
