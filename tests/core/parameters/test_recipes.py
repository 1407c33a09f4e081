"""Recipes: what they say is run, and leaves the files that were meant."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given, strategies as st
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.core.base import ParameterError, output_problem
from napari_exo2micro.core.parameters import State, as_command_line, as_python
from napari_exo2micro.core.pipeline import RunResult, SampleDye, sample_dye
from napari_exo2micro.core.simulate import write_pair

pytestmark = pytest.mark.skipif(os.name == "nt", reason="reads POSIX command lines")

CHANGED = {
    "pad": 60,
    "boundary_width": 20,
    "angle_range": 12.345678,
    "multiscale": False,
    "fine_ecc": True,
    "stopdelta": 1.25e-7,
    "scale_percentile": 99.1,
    "interpolation": "lanczos",
    "offset_correction": False,
}
SUFFIX = "_pad60_bw20_ar12.345678_ms0_fecc1_sdl1.25e-07_sp99.1_interplanczos_oc0"


@pytest.fixture
def calls(monkeypatch):
    """What a run was asked for, instead of the run."""
    seen = []

    def run(
        self, from_stage=None, to_stage=None, force=False, monitor=None, verify=False
    ):
        seen.append(
            {
                "sample": self.sample,
                "dye": self.dye,
                "raw_dir": self.raw_dir,
                "output_dir": self.output_dir,
                "checkpoint_format": self.checkpoint_format,
                "loader": self.settings.loader,
                "params": self.non_default_params(),
                "from_stage": from_stage,
                "to_stage": to_stage,
                "force": force,
                "file": self._tiff_path(4, "difference").name,
            }
        )
        return RunResult(self.sample, self.dye, State.DONE)

    monkeypatch.setattr(sample_dye.SampleDye, "run", run)
    return seen


def run_python(text):
    exec(compile(text, "<recipe>", "exec"), {})


def run_command_line(text):
    program, *words = shlex.split(text)
    assert program == "exo2micro"
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"params": CHANGED},
        {"from_stage": 2, "to_stage": 3, "force": True, "checkpoint_format": "tiff"},
        {"loader": "tiff"},
        {"raw_dir": "/a b/it's", "output_dir": Path('new "results" $HOME `x` \\n')},
        {"raw_dir": "-raw", "output_dir": "--out", "params": {"manual_scale": 1e-5}},
        {"params": {"boundary_width": 15, "manual_scale": None}},
    ],
    ids=["plain", "parameters", "stages", "loader", "quotes", "dashes", "defaults"],
)
@pytest.mark.parametrize(
    "names",
    [
        ("CD070", "DAPI"),
        ("my rock, 3% HCl", "Sybr Gld"),
        ("-x", "--force"),
        ("é'ü", "🔬"),
    ],
    ids=["plain", "spaces", "dashes", "unicode"],
)
def test_both_ask_for_the_run_that_was_meant(calls, settings, names):
    run_python(as_python(*names, **settings))
    run_command_line(as_command_line(*names, **settings))
    of_python, of_command_line = calls
    assert of_python == of_command_line
    task = SampleDye(*names)
    task.set_params(**settings.get("params", {}))
    assert of_python == {
        "sample": names[0],
        "dye": names[1],
        "raw_dir": Path(settings.get("raw_dir", "raw")),
        "output_dir": Path(settings.get("output_dir", "processed")),
        "checkpoint_format": settings.get("checkpoint_format", "both"),
        "loader": settings.get("loader"),
        "params": task.non_default_params(),
        "from_stage": settings.get("from_stage"),
        "to_stage": settings.get("to_stage"),
        "force": settings.get("force", False),
        "file": task._tiff_path(4, "difference").name,
    }


def test_the_suffix_that_was_meant(calls):
    run_python(as_python("CD070", "DAPI", params=CHANGED))
    run_command_line(as_command_line("CD070", "DAPI", params=CHANGED))
    name = f"04_difference_difference{SUFFIX}.tiff"
    assert [call["file"] for call in calls] == [name, name]


FOLDERS = st.text(
    st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters="\0"),
    min_size=1,
)


@given(raw=FOLDERS, output=FOLDERS, width=st.integers(1, 200), angle=st.floats(0, 180))
def test_any_folder_and_number_survive(raw, output, width, angle):
    assume(not output_problem(output, raw))
    seen = []
    params = {"boundary_width": width, "angle_range": angle}
    with pytest.MonkeyPatch.context() as patch:

        def run(self, **_):
            seen.append((self.raw_dir, self.output_dir, self.params))
            return RunResult(self.sample, self.dye, State.DONE)

        patch.setattr(sample_dye.SampleDye, "run", run)
        places = {"raw_dir": raw, "output_dir": output, "params": params}
        run_python(as_python("A", "B", **places))
        run_command_line(as_command_line("A", "B", **places))
    assert seen[0] == seen[1]
    assert seen[0][:2] == (Path(raw), Path(output))
    assert params.items() <= seen[0][2].items()


def test_files_have_the_suffix_that_was_meant(pair, tmp_path):
    raw, params = tmp_path / "raw files", {"pad": 60, "boundary_width": 20}
    write_pair(pair, raw, "Rock 1", "DAPI")
    made = {}
    for name, write in (("python", as_python), ("shell", as_command_line)):
        text = write(
            "Rock 1",
            "DAPI",
            raw_dir=raw,
            output_dir=tmp_path / name,
            checkpoint_format="tiff",
            params=params,
            to_stage=2,
        )
        if name == "python":
            words = [sys.executable, "-c", text]
        else:
            module = f"{sys.executable} -m napari_exo2micro"
            words = ["sh", "-c", text.replace("exo2micro", module, 1)]
        subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)
        folder = tmp_path / name / "Rock 1" / "DAPI" / "tiff"
        made[name] = sorted(path.name for path in folder.iterdir())
    assert (
        made["python"]
        == made["shell"]
        == [
            "01_padded_post_pad60.tiff",
            "01_padded_pre_pad60.tiff",
            "02_icp_aligned_pre_pad60_bw20.tiff",
        ]
    )


@pytest.mark.parametrize("write", [as_python, as_command_line])
def test_a_parameter_that_does_not_exist_is_refused(write):
    with pytest.raises(ParameterError, match="speed"):
        write("A", "B", params={"speed": 3})
