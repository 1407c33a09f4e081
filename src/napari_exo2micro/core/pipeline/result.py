"""The result of a run, the state of each stage, and results beside each other."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from napari_exo2micro.core.base.files import replace_file
from napari_exo2micro.core.base.text import (
    Listing,
    Shown,
    ShownList,
    table_cell,
    visible,
)
from napari_exo2micro.core.parameters import (
    ParameterValue,
    State,
    Verdict,
    um_words,
    value_words,
)
from napari_exo2micro.core.parameters.stages import (
    DIFFERENCE_STAGE,
    MICROBES_STAGE,
    STAGES,
)
from napari_exo2micro.core.photometry.methods import SCALE_METHODS
from napari_exo2micro.core.store import CheckpointStatus, StoredScale

_STATUS_WORDS: Final = {
    State.DONE: "complete",
    State.DEGRADED: "degraded",
    State.FAILED: "error",
    State.NO_FILES: "skipped",
    State.STOPPED: "stopped",
}
_REGISTRATION: Final = (2, 3)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunResult(Shown, Mapping[str, Any]):
    """What came out of a run of one sample and dye.

    Its attributes are typed. As a mapping it has the keys of `to_dict`, the published
    ones, and those that a script adds for itself: ``result["slide"] = 7``. What the
    run says cannot be replaced there; `dataclasses.replace` makes a changed one.

    Attributes
    ----------
    sample, dye : str
        Whose result it is.
    state : State
        `DONE`; `DEGRADED`: a stage fell back or cannot vouch for its result;
        `FAILED`; `NO_FILES`; `STOPPED`.
    reason : str
        Why it is not done, in words.
    verdicts : mapping of int to Verdict
        Of each stage that has one.
    scales : mapping of str to StoredScale
        Each scale that a difference image was made with, under its kind.
    manual_scale : float, optional
        As it was asked for.
    warnings : tuple of str
        What a careful reader wants to know.
    outputs : tuple of Path
        The valid files.
    seconds : float, optional
        Wall time of the run.
    memory : mapping of str to int, optional
        Bytes that the process held: `before`, `peak` and `after`.
    tries : int
        How often a batch has begun it: a worker may have died.
    compared : str
        The parameter that a comparison has varied; empty otherwise.
    value : bool, int, float, str or None
        Its value in this run.

    Examples
    --------
    >>> result = RunResult("CD070", "DAPI", State.FAILED, "no such file")
    >>> result.state.word, result["status"]
    ('failed', 'error: no such file')
    """

    sample: str
    dye: str
    state: State
    reason: str = ""
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    scales: Mapping[str, StoredScale] = field(default_factory=dict)
    manual_scale: float | None = None
    warnings: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()
    seconds: float | None = None
    memory: Mapping[str, int] | None = None
    tries: int = 1
    compared: str = ""
    value: ParameterValue = None
    _added: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def status(self) -> str:
        """The state and the reason as one text, such as ``'degraded: ...'``."""
        word = _STATUS_WORDS.get(self.state, self.state)
        return f"{word}: {self.reason}" if self.reason else word

    @property
    def scale(self) -> StoredScale | None:
        """The scale of the main difference image."""
        return next((scale for scale in self.scales.values() if scale.is_main), None)

    @property
    def percentile_scale(self) -> StoredScale | None:
        """The scale at `scale_percentile`, where that was asked for."""
        scales = self.scales.values()
        return next((scale for scale in scales if scale.method == "percentile"), None)

    @property
    def accuracy_px(self) -> float | None:
        """Estimated accuracy of the last alignment that has one, px."""
        return self._accurate.numbers["accuracy_px"] if self._accurate else None

    @property
    def accuracy_um(self) -> float | None:
        """The same, um; None where the size of a pixel is not known."""
        return self._accurate.numbers.get("accuracy_um") if self._accurate else None

    @property
    def accuracy(self) -> str:
        """The same in words, ``0.012 px (7.8 nm)``; empty when it is not known."""
        return self._accurate.accuracy if self._accurate else ""

    @property
    def _accurate(self) -> Verdict | None:
        verdicts = (self.verdicts.get(stage) for stage in reversed(_REGISTRATION))
        return next((v for v in verdicts if v is not None and v.accuracy), None)

    @property
    def microbes(self) -> str:
        """Number of microbes with its 95 % interval; empty before stage 5."""
        verdict = self.verdicts.get(MICROBES_STAGE)
        return "" if verdict is None else count_words(verdict)

    @property
    def doubtful_stages(self) -> tuple[int, ...]:
        """The stages that fell back or cannot vouch for their result."""
        return tuple(n for n, v in self.verdicts.items() if not v.state.is_good)

    def to_dict(self) -> dict[str, Any]:
        """Return the published keys with JSON-ready values.

        Returns
        -------
        dict
            What this mapping holds, as built-in types.
        """
        main, percentile = self.scale, self.percentile_scale
        verdicts = {n: verdict.to_dict() for n, verdict in self.verdicts.items()}
        entries: dict[str, Any] = {
            "sample": self.sample,
            "dye": self.dye,
            "status": self.status,
            "state": str(self.state),
            "reason": self.reason,
            "scale_estimate": main.value if main else None,
            "scale_percentile_value": percentile.value if percentile else None,
            "manual_scale": self.manual_scale,
            "scale": main.to_dict() if main else None,
            "scales": {kind: scale.to_dict() for kind, scale in self.scales.items()},
            "registration": {n: verdicts[n] for n in _REGISTRATION if n in verdicts},
            "verdicts": verdicts,
            "warnings": list(self.warnings),
            "outputs": [str(path) for path in self.outputs],
        }
        if self.seconds is not None:
            entries["seconds"] = self.seconds
        if self.memory is not None:
            entries["memory"] = dict(self.memory)
        if self.tries > 1:
            entries["tries"] = self.tries
        if self.compared:
            entries["value"] = self.value
        return entries

    def __repr__(self) -> str:
        """Return names, status and figures in one line."""
        words = (
            self.status,
            f"accuracy {self.accuracy}" if self.accuracy else "",
            f"scale {self.scale}" if self.scale else "",
            self._time,
        )
        line = ", ".join(filter(None, words))
        return visible(f"{type(self).__name__}({self.sample!r}, {self.dye!r}, {line})")

    def __rich__(self) -> Listing:
        """Return what each stage says of its work, and the scale."""
        scale = f"scale {self.scale} ({self.scale.kind})" if self.scale else ""
        found = f"{self.microbes} microbes" if self.microbes else ""
        words = self.status, scale, found, self._time
        figures = ", ".join(filter(None, words))
        return replace(
            verdict_table(self.verdicts),
            title=f"{self.sample} / {self.dye}: {figures}",
            notes=tuple(f"warning: {text}" for text in self.warnings),
        )

    @property
    def _time(self) -> str:
        return "" if self.seconds is None else f"{self.seconds:.1f} s"

    def __getitem__(self, key: str) -> Any:
        """Return an entry; ``'result'`` of a comparison is the result."""
        if key == "result" and self.compared:
            return self
        return (self._added | self.to_dict())[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Add an entry of a script's own; what the run says stays.

        Raises
        ------
        TypeError
            When the run itself has an entry of this name.
        """
        if key in self.to_dict():
            raise TypeError(
                f"result[{key!r}] is what the run says and cannot be replaced; use "
                "another key, or dataclasses.replace for a changed result"
            )
        self._added[key] = value

    def __iter__(self) -> Iterator[str]:
        """Yield the published keys and those that were added."""
        return iter(self.to_dict() | self._added)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.to_dict() | self._added)


def verdict_table(verdicts: Mapping[int, Verdict]) -> Listing:
    """Return a row for each stage: its title, its verdict, and why with figures."""
    rows = []
    for number, verdict in sorted(verdicts.items()):
        # The scale's own figures are told elsewhere.
        figures = "" if number == DIFFERENCE_STAGE else verdict.figures()
        figures = microbe_words(verdict) or figures
        why = "\n".join(filter(None, (verdict.reason, figures)))
        rows.append((f"{number} {STAGES[number].title}", verdict.state, why))
    return Listing(("stage", "verdict", "numbers"), rows)


def count_words(verdict: Verdict) -> str:
    """Return the count of stage 5, ``141 (135 to 143)`` or ``< 3``, empty without."""
    numbers = verdict.numbers
    if "microbes" not in numbers:
        return ""
    number, low, high = (numbers[f"microbes{end}"] for end in ("", "_low", "_high"))
    if low <= 0:
        return f"< {math.ceil(high)}"
    return f"{number:.0f} ({math.floor(low)} to {math.ceil(high)})"


def microbe_words(verdict: Verdict) -> str:
    """Return the count of stage 5 with what it rests on; empty without."""
    found = count_words(verdict)
    if not found:
        return ""
    numbers = verdict.numbers
    of_which = f"above S/N {numbers['snr_min']:.2f}"
    if "brighter_than" in numbers:
        of_which = (
            f"brighter than {numbers['brighter_than']:.3g} grey levels, "
            f"{numbers['found_percent']:.0f} % of them found"
        )
    dark, false = numbers["dark_spots"], numbers.get("control_false")
    words = f"{found} microbes {of_which}, {dark:.0f} dark spots as strong"
    if false is not None:
        words += f", {false:.0f} false ones expected from the control"
    return words


def figures_of(result: RunResult) -> tuple[str, str]:
    """Return the estimated accuracy, px, and the scale; empty when unknown."""
    scale, px, um = result.scale, result.accuracy_px, result.accuracy_um
    accuracy = "" if px is None else f"{px:.3g}"
    return (
        accuracy if um is None else f"{accuracy} ({um_words(um)})",
        "" if scale is None else f"{scale.value:.5g}",
    )


def judged(verdicts: Mapping[int, Verdict], last: int) -> tuple[State, str]:
    """Return the state of a run up to stage `last`, with each stage's reason.

    It is done when every verdict is `ok` or the stage was asked to be skipped, and
    stages 3 and 4 have one where the run went so far.
    """
    unknown = Verdict(
        State.FAILED, "its result was not made by this package: no verdict"
    )
    needed = {number: unknown for number in (3, 4) if number <= last}
    reasons = [
        f"stage {number} {STAGES[number].title}: {verdict.reason}"
        for number, verdict in sorted({**needed, **verdicts}.items())
        if not verdict.state.is_good
    ]
    return (State.DEGRADED if reasons else State.DONE), "; ".join(reasons)


class CheckList(ShownList[CheckpointStatus]):
    """What `SampleDye.status` returns: its entries, which print as a table."""

    def __rich__(self) -> Listing:
        """Return a row for each checkpoint and plot."""
        rows = [
            (
                str(entry.stage),
                entry.name,
                "picture" if entry.kind == "plot" else entry.kind,
                entry.state,
                entry.reason,
            )
            for entry in self
        ]
        return Listing(("stage", "name", "kind", "state", "why"), rows)


class Comparison(ShownList[RunResult]):
    """What `SampleDye.compare` returns: results, which print as a table."""

    def __rich__(self) -> Listing:
        """Return a row for each value."""
        name = self[0].compared if self else ""
        rows = [(str(it.value), it.status, *figures_of(it)) for it in self]
        return Listing((name, "status", "accuracy px", "scale"), rows, numbers=(2, 3))


@dataclass(frozen=True, slots=True)
class StageState:
    """What the results of stage `number` are worth now, and why.

    `MISSING`: it has not run with these parameters. `STALE`: results exist and are not
    used. `VALID`: they are used. `FELL_BACK`, `FAILED`, `SKIPPED`: they are valid, and
    the stage says so of its own work.
    """

    number: int
    state: State
    reason: str = ""


def stage_states(
    lines: Iterable[CheckpointStatus], result: RunResult | None = None
) -> dict[int, StageState]:
    """Return the state of every stage by number.

    `lines` are as `SampleDye.status`, the result as `SampleDye.result` returns them.
    """
    known = list(lines)
    verdicts = result.verdicts if result is not None else {}
    states = {}
    for number in sorted(STAGES):
        own = [line for line in known if line.stage == number]
        verdict = verdicts.get(number, Verdict(State.OK))
        states[number] = _stage_state(number, own, verdict)
    return states


def stages_done(lines: Iterable[CheckpointStatus]) -> int:
    """Return the last stage in a row whose images are all valid; 0 without any."""
    images = [line for line in lines if line.kind == "checkpoint"]
    done = 0
    for number in sorted({line.stage for line in images}):
        if any(line.state != State.VALID for line in images if line.stage == number):
            break
        done = number
    return done


def _stage_state(
    number: int, lines: list[CheckpointStatus], verdict: Verdict
) -> StageState:
    images = [line for line in lines if line.kind == "checkpoint"]
    if all(line.state == State.MISSING for line in images):
        return StageState(number, State.MISSING)
    for line in images:
        if line.state == State.STALE:
            return StageState(number, State.STALE, line.reason)
    for line in images:
        if line.state == State.MISSING:
            return StageState(number, State.MISSING, f"{line.path.name} is missing")
    for line in lines:
        if line.state not in (State.VALID, State.FAILED):
            why = line.reason or "it is missing"
            return StageState(number, State.STALE, f"the plot {line.path.name}: {why}")
    if verdict.state != State.OK:
        return StageState(number, verdict.state, verdict.reason)
    notes = (line.reason for line in lines if line.reason)
    return StageState(number, State.VALID, next(notes, ""))


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """What one value of a parameter came to; see `RunResult`.

    `note` has its reason and warnings; `scale` is that of the difference image that
    the value has an effect on.
    """

    value: ParameterValue
    state: State
    note: str = ""
    accuracy_px: float | None = None
    accuracy_um: float | None = None
    scale: float | None = None
    scale_uncertainty: float | None = None
    seconds: float | None = None

    @property
    def verdict(self) -> str:
        """The word in the table: ``complete``, ``degraded`` or ``failed``."""
        return "complete" if self.state == State.DONE else self.state.word


def comparison_row(name: str, result: RunResult) -> ComparisonRow:
    """Return the row of one result of `SampleDye.compare`.

    Where a scale method takes the parameter, the row tells the scale of that method.
    """
    own = [m.name for m in SCALE_METHODS.values() if m.parameter == name]
    scales = {scale.method: scale for scale in result.scales.values()}
    scale = next((scales[method] for method in own if method in scales), result.scale)
    notes = [result.reason, *result.warnings]
    return ComparisonRow(
        value=result.value,
        state=result.state,
        note="; ".join(note for note in notes if note),
        accuracy_px=result.accuracy_px,
        accuracy_um=result.accuracy_um,
        scale=scale.value if scale else None,
        scale_uncertainty=(scale.uncertainty or None) if scale else None,
        seconds=result.seconds,
    )


def save_comparison(
    path: str | Path,
    name: str,
    rows: Iterable[ComparisonRow],
    *,
    sample: str = "",
    dye: str = "",
    to_stage: int | None = None,
) -> None:
    """Write a comparison as a CSV table that spreadsheets open; whole or not at all.

    A number that is not known is left empty. Sample, dye, the parameter's name and the
    last stage that ran stand in every line, so that tables can be put together.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    path = Path(path)
    last = max(STAGES) if to_stage is None else to_stage
    header = (
        "sample dye parameter value last_stage verdict accuracy_px accuracy_um scale "
        "scale_uncertainty seconds note"
    ).split()
    with (
        replace_file(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(header)
        for row in rows:
            numbers = (
                row.accuracy_px,
                row.accuracy_um,
                row.scale,
                row.scale_uncertainty,
            )
            seconds = None if row.seconds is None else round(row.seconds, 2)
            # A number stands as people write it: it is no text, so no formula either.
            words = value_words(row.value)
            is_number = isinstance(row.value, int | float)
            value = words if is_number else table_cell(words)
            texts = map(table_cell, (sample, dye, name))
            rest = (last, row.verdict, *numbers, seconds, table_cell(row.note))
            table.writerow([*texts, value, *rest])
