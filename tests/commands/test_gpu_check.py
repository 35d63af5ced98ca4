"""The check for machines with a GPU, without one."""

import json
import os
import subprocess
import time

import gpu_check
import gpu_checks
import pytest
import torch
from gpu_check import Check, Result, choose, main, run_checks
from polsess.errors import UserError

FAKE = "small_gpu_checks"


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Run fake checks as the command line does."""

    def check(*checks):
        monkeypatch.setattr(gpu_check, "CHECKS", list(checks))
        output = tmp_path / "found" / "gpu.json"
        status = main(["--output", str(output)], FAKE)
        return status, capsys.readouterr().out, json.loads(output.read_text())

    return check


def test_a_line_a_check_a_file_and_an_exit_status(checked):
    status, printed, found = checked(
        Check("good/one/2", 60, needs_gpu=False, alone=True),
        Check("wrong", 60, needs_gpu=False),
        Check("broken", 60, needs_gpu=False),
        Check("good/on_gpu", 60),
        Check("good/more", 60, packages=("not_there",)),
        Check("dying", 60, needs_gpu=False),
    )
    lines = {line.split()[0]: line for line in printed.splitlines()[:-1]}
    good = " ".join(lines["good/one/2"].split()[1:])
    assert good == "ok error 1e-06 (limit 1e-05) 0.0 s rate 12.35"
    assert "FAIL  output 0.5 (limit 1), gradients nan" in lines["wrong"]
    assert "SystemExit: CUDA error: misaligned address" in lines["broken"]
    assert "skip  0.0 s  it needs a GPU" in lines["good/on_gpu"]
    assert "not_there is not installed" in lines["good/more"]
    assert "its process ended, exit code 7" in lines["dying"]
    assert "1 ok, 3 FAIL, 2 skip" in printed
    assert status == 1
    assert not found["passed"]
    first, second, third, *_ = found["checks"]  # in the table's order
    assert first["notes"] == {"arguments": ["one", "2"], "rate": 12.345678}
    assert second["figures"][1] == {
        "what": "gradients",
        "value": None,
        "limit": 1,
    }
    assert "small_gpu_checks.py" in "".join(third["log"])


def test_skips_alone_do_not_fail(checked):
    skipped = Check("good", 60, packages=("not_there",))
    status, printed, found = checked(skipped, skipped._replace(packages=()))
    assert status == 0
    assert "0 ok, 0 FAIL, 2 skip" in printed
    assert found["passed"]


def test_what_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTED_PID", str(tmp_path / "pid"))
    checks = [
        Check("good", 60, needs_gpu=False),
        Check("hanging", 1, needs_gpu=False),
        Check("good/after", 60, needs_gpu=False),
    ]
    results = list(run_checks(checks, FAKE, "cuda", tmp_path, 100, jobs=1))
    assert [result.status for result in results] == ["ok", "FAIL", "ok"]
    assert results[1].reason == "it had not ended by its deadline"
    assert 1 <= results[1].seconds < 10
    process = int((tmp_path / "pid").read_text())
    for _ in range(100):  # its new parent has to take note of its end
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("what it had started goes on")


def test_the_time_for_all(tmp_path):
    checks = [Check("good", 60), Check("good", 60, alone=True)]
    start = time.monotonic()
    results = run_checks(checks, FAKE, "cuda", tmp_path, -1, jobs=2)
    reasons = {result.reason for result in results}
    assert reasons == {"the time for all checks was over"}
    assert time.monotonic() - start < 1


def test_names(capsys):
    assert main(["--list", "--only", "layer"]) == 0
    assert capsys.readouterr().out == "layer/501x126\nlayer/129x498\n"
    with pytest.raises(UserError, match="--only lay: no such check"):
        choose(["lay"])
    for check in gpu_check.CHECKS:
        assert callable(getattr(gpu_checks, check.name.split("/")[0]))


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Take what a check finds on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = Result("check", "cuda", tmp_path)
    gpu_checks.prepare(found)
    return found


def test_a_missing_gpu_is_told(result):
    gpu_checks.environment(result)
    assert result.status == "FAIL"
    assert "no NVIDIA GPU" in result.line()
    assert result.notes["torch"] == torch.__version__.partition("+")[0]


def test_the_layer_against_another_computation(result):
    gpu_checks.scan(result, "cpu")
    assert result.status == "ok"
    assert all(0 < f["value"] < f["limit"] for f in result.figures)
    gpu_checks.layer(result, "3x15")
    assert result.status == "ok"
    assert 0 < result.notes["forward_ms"] < result.notes["both_ms"]


def test_a_network_that_computes_something_else(result, monkeypatch):
    gpu_checks.network(result, "dprnn")
    assert result.status == "ok"
    compute = gpu_checks.output_and_gradient
    scales = iter([1, 1.001])

    def off(*arguments):
        scale = next(scales)
        return [scale * tensor for tensor in compute(*arguments)]

    monkeypatch.setattr(gpu_checks, "output_and_gradient", off)
    gpu_checks.network(result, "dprnn")
    assert result.status == "FAIL"
    values = [figure["value"] for figure in result.figures]
    assert values == pytest.approx([0, 0, 1e-3, 1e-3], rel=0.01)


def test_training_steps(result, monkeypatch):
    tiny = gpu_checks.tiny("dprnn")
    del tiny["precision"]
    gpu_checks.steps(result, "bf16", "dprnn", **tiny)
    assert result.status == "ok"
    for name in ("WARM_UP", "STEPS", "PROFILED"):
        monkeypatch.setattr(gpu_checks, name, 1)
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    gpu_checks.speed(result, "tf32", "dprnn", **tiny)
    assert result.status == "ok"
    assert result.notes["steps_per_s"] > 0
    assert modes == ["warn", "default"]


def test_training_killed_and_resumed(result):
    gpu_checks.training(result, "convtasnet")
    assert result.status == "ok"
    assert [figure["value"] for figure in result.figures] == [0, 0, 0]


def test_averaging(result):
    gpu_checks.averaging(result)
    assert result.status == "ok"


HELPFUL = "Error: out of memory: lower --batch_size or --training_segment"


@pytest.mark.parametrize(
    ("printed", "exit_status", "reason"),
    [
        (HELPFUL, 1, ""),
        (HELPFUL, 0, "exit status 0"),
        ("Error: out of memory", 1, "no such message"),
        (f"Traceback ...\n{HELPFUL}", 1, "there is a traceback"),
    ],
)
def test_out_of_memory(result, monkeypatch, printed, exit_status, reason):
    def run(command, **options):
        assert command[1] == "-c"
        compile(command[2], "script", "exec")
        return subprocess.CompletedProcess(command, exit_status, printed)

    class Gpu:
        total_memory = 10e9

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Gpu)
    gpu_checks.out_of_memory(result)
    assert result.reason == reason
    assert result.notes["message"] == printed.splitlines()[-1]
