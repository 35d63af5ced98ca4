"""The dashboard: what it is told, and that it changes nothing."""

import io
import json

import experiments.dashboard as dashboard
import pytest
from experiments.stages import find_stages
from small_trials import PARAMETERS, write_trial


def ask(app, path, method="GET"):
    """Ask a WSGI application; return its status and JSON."""
    answered = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environ, lambda *given: answered.extend(given)))
    return int(answered[0].split()[0]), json.loads(body)


@pytest.fixture
def stage(tmp_path):
    """Write a finished, a stopped, a failed and a running trial."""
    folder = tmp_path / "out/dprnn-stage1"
    curve = "epoch,valid_si_sdr,seconds\n1,0.5,60\n2,1.5,60\n"
    # Orion rounds, here beyond the bound.
    beyond = PARAMETERS | {"weight_decay": 1.00001e-4}
    trials = [
        write_trial(folder, 2, beyond, 1.5),
        write_trial(folder, 1, PARAMETERS, 1.0, ended="stopped", reason="?"),
        write_trial(folder, 3, PARAMETERS, ended="diverged"),
        folder / "trials/running",
    ]
    trials[3].mkdir()
    (trials[3] / "settings.json").write_text(json.dumps(PARAMETERS))
    for trial in trials:
        (trial / "curve.csv").write_text(curve)
    return folder


def test_trials_are_optunas(tmp_path, stage):
    storage = dashboard.make_storage(find_stages("dprnn"), tmp_path / "out")
    names = [study.study_name for study in storage.get_all_studies()]
    assert names[0] == "dprnn-stage1" and len(names) == 4
    trials = storage.get_all_trials(0)
    # In the order of their ends
    states = [trial.state.name for trial in trials]
    assert states == ["PRUNED", "COMPLETE", "FAIL", "RUNNING"]
    assert [trial.value for trial in trials] == [1.0, 1.5, None, None]
    for trial in trials:
        assert trial.intermediate_values == {1: 0.5, 2: 1.5}
        assert trial.params["lr_patience"] == 2
        assert trial.distributions["lr"].log
    assert trials[1].params["weight_decay"] == 1e-4
    assert trials[0].user_attrs["reason"] == "?"
    lasted = trials[0].datetime_complete - trials[0].datetime_start
    assert lasted.total_seconds() == 1800
    assert trials[3].datetime_complete is None


def test_the_dashboard_is_read_only_and_goes_with_time(
    tmp_path, stage, monkeypatch
):
    before = sorted(tmp_path.rglob("*"))
    app = dashboard.make_app(find_stages("dprnn"), tmp_path / "out")
    status, found = ask(app, "/api/studies/0")
    assert status == 200 and len(found["trials"]) == 4
    for method, path in {
        "DELETE": "/api/studies/0",
        "POST": "/api/studies",
        "PUT": "/api/studies/0/note",
    }.items():
        status, found = ask(app, path, method)
        assert status == 403 and "read-only" in found["reason"]
    assert sorted(tmp_path.rglob("*")) == before
    write_trial(stage, 9, PARAMETERS, 3.0)
    assert len(ask(app, "/api/studies/0")[1]["trials"]) == 4
    monkeypatch.setattr(dashboard, "KEPT_SECONDS", -1.0)
    _, found = ask(app, "/api/studies/0")
    assert len(found["trials"]) == 5 and found["best_trials"]
    # A damaged file takes nothing away.
    (stage / "trials/running/curve.csv").write_text("damaged")
    assert len(ask(app, "/api/studies/0")[1]["trials"]) == 5
