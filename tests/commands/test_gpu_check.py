"""The check for machines with a GPU, without one."""

import json
import os
import subprocess
import sys
import time

import gpu_check
import gpu_checks
import measuring
import pytest
import torch
from gpu_check import Result, main

FAKE = "small_gpu_checks"


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Run fake checks as the command line does."""

    def check(together, alone, deadline="60", only=()):
        monkeypatch.setattr(gpu_check, "TOGETHER", together)
        monkeypatch.setattr(gpu_check, "ALONE", alone)
        monkeypatch.setattr(sys, "path", [*sys.path])
        output = tmp_path / "found" / "gpu.json"
        options = ["--output", str(output), "--deadline", deadline]
        status = main([*options, *only], FAKE)
        printed = capsys.readouterr().out
        lines = {line.split()[0]: line for line in printed.splitlines()}
        return status, lines, json.loads(output.read_text())

    return check


def test_a_line_a_check_a_file_and_an_exit_status(checked):
    status, lines, found = checked(
        ["wrong", "broken", "good/one/2", "dying"]
        + ["lacking/json", "lacking/not_there"],
        ["good/alone"],
    )
    good = " ".join(lines["good/one/2"].split()[1:])
    assert good == "ok error 1e-06 (limit 1e-05) 0.0 s rate 12.35"
    assert "FAIL  output 0.5 (limit 1), gradients nan" in lines["wrong"]
    assert "SystemExit: CUDA error: misaligned address" in lines["broken"]
    assert lines["dying"].endswith("its process ended, status 7")
    assert "skip  0.0 s  no GPU" in lines["lacking/json"]
    assert lines["lacking/not_there"].endswith("not_there is not installed")
    assert "2 ok, 3 FAIL, 2 skip in" in lines["2"]
    assert status == 1
    assert not found["passed"]
    first, second, third, *_ = found["checks"]  # in the table's order
    assert second["name"] == "broken"
    assert first["figures"][1] == {
        "what": "gradients",
        "value": None,
        "limit": 1,
    }
    assert "small_gpu_checks.py" in "".join(second["log"])
    assert third["notes"] == {"arguments": ["one", "2"], "rate": 12.345678}


def test_skips_alone_do_not_fail(checked):
    status, lines, found = checked(
        ["lacking/not_there", "wrong"],
        ["good", "broken"],
        only=["--only", "lacking", "good"],
    )
    assert status == 0
    assert "1 ok, 0 FAIL, 1 skip in" in lines["1"]
    assert found["passed"]


def test_what_hangs_is_ended_with_all_that_it_started(
    checked, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one at a time
    names = ["good/before", "hanging", "good/late"]
    status, lines, found = checked(names, [], deadline="4")
    assert status == 1
    assert "reached its deadline" in lines["hanging"]
    assert "in hanging" in "".join(found["checks"][1]["log"])  # where it was
    assert "the time for all checks was over" in lines["good/late"]
    assert lines["good/before"].split()[1] == "ok"
    process = int((tmp_path / "pid").read_text())
    for _ in range(100):  # its new parent has to take note of its end
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("what it had started goes on")


def test_names(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "lay"])
    printed = capsys.readouterr().err
    assert "--only: invalid choice: 'lay'" in printed
    assert "'layer/501x126'" in printed
    for name in gpu_check.TOGETHER + gpu_check.ALONE:
        assert callable(getattr(gpu_checks, name.split("/")[0]))


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Take what a check finds on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Result, "need_gpu", lambda *_: None)
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2e9)
    found = Result("check", "cuda", tmp_path)
    gpu_checks.prepare(found)
    return found


def test_a_missing_gpu_is_reported(result):
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
    compute = measuring.output_and_gradient
    scales = iter([1, 1.001])

    def off(*arguments):
        scale = next(scales)
        return [scale * tensor for tensor in compute(*arguments)]

    monkeypatch.setattr(measuring, "output_and_gradient", off)
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
    assert result.notes["peak_gb"] == 2
    assert modes == ["warn", "default"]


def test_training_killed_and_resumed(result):
    gpu_checks.training(result, "convtasnet")
    assert result.status == "ok"
    # To the bit in processes of their own, see test_brain.py
    values = [figure["value"] for figure in result.figures]
    assert values == pytest.approx([0, 0, 0], abs=1e-5)


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
