"""Files of sweeps and of series: what they say, or an error that names them."""

import json
from pathlib import Path

import hypothesis.strategies as st
from damage import yaml_files
from experiments.series import Job, read_series
from hypothesis import given
from outcomes import attempt, new_file
from polsess.errors import UserError
from polsess.files import RECIPE
from polsess.search.sweep import SWEEPS, read_sweep_file

SERIES = RECIPE.parents[1] / "tools/series"


@given(st.data())
def test_a_sweep(data):
    name = data.draw(st.sampled_from(["dprnn_stage1", "spmamba_stage3b"]))
    text = (SWEEPS / f"{name}_hpopt.yaml").read_text()
    content, damaged = data.draw(yaml_files(text))
    with new_file(f"{name}.yaml", content) as path:
        sweep, _ = attempt(lambda: read_sweep_file(path), UserError, path)
        assert damaged or sweep
        if sweep:
            words = sweep.hunt_command("corpus", "results")
            assert str(path) in words and sweep.name in words
            json.dumps(sweep.settings, allow_nan=False)  # for train.py


@given(st.data())
def test_a_series(data):
    name = data.draw(st.sampled_from(["dprnn_finalists", "baselines"]))
    hparams = str(RECIPE / "hparams")
    text = (SERIES / f"{name}.yaml").read_text()
    text = text.replace("../../recipes/PolSESS/hparams", hparams)
    content, damaged = data.draw(yaml_files(text))
    with new_file(f"{name}.yaml", content) as path:
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
            job = Job(name, 1, model, path.with_name(name), options)
            assert all(isinstance(word, str) for word in job.command("cpu"))
