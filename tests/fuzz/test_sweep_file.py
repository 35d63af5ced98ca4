"""Files of sweeps and of series: what they say, or an error that names them."""

import json
import shlex
from pathlib import Path

import sweep_file
from damage import yaml_files
from experiments.series import Job, read_series
from hypothesis import (
    given,
    strategies as st,
)
from outcomes import attempt, new_folder
from polsess.errors import UserError
from polsess.search.sweep import read_sweep_file
from small_models import SEPARATION
from sweep_file import hunt_command

SWEEPS = SEPARATION.parent / "sweeps"
SERIES = Path(sweep_file.__file__).parents[3] / "tools/series"


@given(st.data())
def test_a_sweep(data):
    name = data.draw(st.sampled_from(["dprnn_stage1", "spmamba_stage3b"]))
    text = (SWEEPS / f"{name}_hpopt.yaml").read_text()
    content, damaged = data.draw(yaml_files(text))
    with new_folder() as folder:
        path = folder / f"{name}.yaml"
        path.write_bytes(content)
        sweep, _ = attempt(lambda: read_sweep_file(path), UserError, path)
        assert damaged or sweep
        if sweep:
            words = shlex.split(hunt_command(sweep))
            assert str(path) in words and sweep.name in words
            printed = sweep_file._as_json(sweep)
            settings = json.loads(printed)["settings"]
            json.dumps(settings, allow_nan=False)  # for Orion and train.py


@given(st.data())
def test_a_series(data):
    name = data.draw(st.sampled_from(["dprnn_finalists", "baselines"]))
    hparams = str(SEPARATION.parent / "hparams")
    text = (SERIES / f"{name}.yaml").read_text()
    text = text.replace("../../recipes/PolSESS/hparams", hparams)
    content, damaged = data.draw(yaml_files(text))
    with new_folder() as folder:
        path = folder / f"{name}.yaml"
        path.write_bytes(content)
        series, _ = attempt(lambda: read_series(path), UserError, path)
        assert damaged or series
        if series is None:
            return
        seeds, runs = series
        assert runs and (seeds is None or all(s >= 0 for s in seeds))
        assert len({name for name, _, _ in runs}) == len(runs)
        for name, model, options in runs:
            assert model.is_file()
            assert Path(name).name == name
            command = Job(name, 1, model, folder / name, options).command("cpu")
            assert all(isinstance(word, str) for word in command)
