"""How a run's result reads in a terminal: a table, the scale, the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_exo2micro.cli.output import console, note, table
from napari_exo2micro.core.alignment.quality import Verdict, number_words
from napari_exo2micro.core.scale_methods import further_scales
from napari_exo2micro.core.stages import LAST_BUILT_IN, STAGES

__all__ = ["accuracy_words", "number_words", "show_comparison", "show_result"]

_LABELS = {"ok": "ok", "fell_back": "fell back", "failed": "failed"}
_STYLES = {"ok": "green", "fell_back": "yellow", "failed": "red"}


def show_result(
    result: Mapping[str, Any], *, already_shown: Sequence[str] = ()
) -> None:
    """Print the result of `SampleDye.run` and, to the standard error, its warnings."""
    out = console()
    made = table("stage", "verdict", "numbers")
    verdicts = dict(result["registration"])
    of_scale = (result.get("scale") or {}).get("verdict")
    if of_scale:
        verdicts[4] = {**of_scale, "numbers": {}}
    for key, verdict in result.get("verdicts", {}).items():
        if int(key) > LAST_BUILT_IN:
            verdicts[int(key)] = verdict
    for key, verdict in sorted(verdicts.items(), key=_as_number):
        number = int(key)
        state = verdict["state"]
        words = [Verdict.from_dict(verdict).figures()]
        if verdict["reason"]:
            words.insert(0, verdict["reason"])
        made.add_row(
            f"{number} {STAGES[number].title}",
            _styled(_LABELS.get(state, state), _STYLES.get(state, "")),
            "\n".join(word for word in words if word),
        )
    if made.row_count:
        out.print(made)
    for line in _scale_lines(result):
        out.print(line)
    for line in _output_lines(result):
        out.print(line)
    out.print(f"{'status':<12}{result['status']}")
    for text in result.get("warnings", ()):
        if text not in already_shown:
            note(f"warning: {text}")


def _as_number(item: tuple[Any, Any]) -> int:
    return int(item[0])


def _styled(text: str, style: str) -> Any:
    from rich.text import Text

    return Text(text, style=style)


def _scale_lines(result: Mapping[str, Any]) -> Iterable[str]:
    scale = result.get("scale") or {}
    value = result.get("scale_estimate")
    if value is not None:
        error, offset = scale.get("uncertainty"), scale.get("offset")
        words = f"{value:.5g}" + (f" ± {error:.1g}" if error else "")
        formula = "post - scale × pre"
        if offset:
            sign = "-" if offset > 0 else "+"
            formula = f"post {sign} {abs(offset):.3g} - scale × pre"
        kind = f" ({scale['kind']})" if scale.get("kind") else ""
        yield f"{'scale':<12}{words}{kind}; difference = {formula}"
    if result.get("scale_percentile_value") is not None:
        yield f"{'':<12}{result['scale_percentile_value']:.5g} at the percentile"
    if result.get("manual_scale") is not None:
        yield f"{'':<12}{result['manual_scale']:.5g} by hand"
    for title, value, error in further_scales(result):
        words = f"{value:.5g}" + (f" ± {error:.1g}" if error else "")
        yield f"{'':<12}{words} ({title})"


def _output_lines(result: Mapping[str, Any]) -> Iterable[str]:
    outputs = [Path(str(path)) for path in _paths(result.get("outputs", ()))]
    pictures = [path for path in outputs if path.suffix == ".png"]
    images = sorted(p for p in outputs if p.name.startswith("04_difference_diff"))
    if images:
        yield f"{'difference':<12}{images[0].parent}"
    for path in images:
        yield f"{'':<12}  {path.name}"
    if pictures:
        yield f"{'pictures':<12}{len(pictures)} in {pictures[0].parent}"


def _paths(outputs: Any) -> Iterable[Any]:
    if isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from _paths(value)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            yield from _paths(value)
    else:
        yield outputs


def show_comparison(parameter: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each value that `SampleDye.compare` ran with."""
    made = table(parameter, "status", "accuracy px", "scale", numbers=(2, 3))
    for result in results:
        scale = result.get("scale_estimate")
        made.add_row(
            str(result["value"]),
            str(result["status"]),
            accuracy_words(result),
            "" if scale is None else f"{scale:.5g}",
        )
    console().print(made)


def accuracy_words(result: Mapping[str, Any]) -> str:
    """Return the estimated accuracy of the last alignment, px; empty when unknown."""
    for verdict in reversed(list(result["registration"].values())):
        for name, value in verdict["numbers"].items():
            if name.startswith("accuracy"):
                return f"{value:.3g}"
    return ""
