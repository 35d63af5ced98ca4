"""Devices; several processes train as one with the larger batch does."""

import ctypes
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from killed_runs import assert_same_runs
from polsess import processes as processes_module
from polsess.data.sampling import TrainingBatches
from polsess.errors import UserError
from polsess.processes import (
    describe_gpu,
    is_out_of_memory,
    join_processes,
    set_up_device,
)
from small_models import HPARAMS, SEPARATION, small_arguments
from small_runs import CHANGES, command, weights

from speechbrain.utils.run_opts import RunOptions

STAGES = [{"epoch": 1, "variants": ["C"], "lr_scheduler": False}]
TRAIN = SEPARATION / "train.py"


def launch(processes, corpus, folder, script=(TRAIN,), yaml=None, **options):
    """Train with so many processes; return the finished torchrun."""
    options = {"model": "convtasnet", "number_of_epochs": 1, **options}
    options |= {"data_folder": corpus, "output_folder": folder}
    arguments = small_arguments(options.pop("model"), **options)
    line = command()
    if processes > 1:
        line = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc_per_node={processes}", *map(str, script)),
        ]
    return subprocess.run(
        [*line, *([yaml] if yaml else arguments[:1]), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(SEPARATION)},
    )


def sgd_yaml(folder):
    """Write a YAML file with SGD: FP32 Adam amplifies rounding."""
    text = (HPARAMS / "convtasnet.yaml").read_text()
    text = text.replace("torch.optim.Adam", "torch.optim.SGD")
    (folder / "sgd.yaml").write_text(text)
    return str(folder / "sgd.yaml")


def run(processes, folder, corpus, **options):
    """Train with so many processes; return the folder."""
    process = launch(processes, corpus, folder, **options)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder


def test_two_processes_equal_one_with_the_doubled_batch(small_corpus, tmp_path):
    # Ten mixtures: batches of six and four, which are one group.
    options = {
        "yaml": sgd_yaml(tmp_path),
        "lr": 0.003,
        "number_of_epochs": 2,
        "grad_accumulation_factor": 2,
        **CHANGES,
    }
    one = run(1, tmp_path / "one", small_corpus, batch_size=6, **options)
    two = run(2, tmp_path / "two", small_corpus, batch_size=3, **options)
    for name, weight in weights(one).items():
        assert torch.allclose(weight, weights(two)[name], rtol=0, atol=1e-6)
    # Every utterance of validation and test once, in the same order.
    scores = [pd.read_csv(folder / "test.csv") for folder in (one, two)]
    assert len(scores[1]) == 2 * 5 + 2 * 4
    pd.testing.assert_frame_equal(*scores, rtol=1e-3, atol=1e-3)
    curves = [pd.read_csv(folder / "curve.csv") for folder in (one, two)]
    columns = ["train_loss", "valid_si_sdr", "valid_undefined"]
    pd.testing.assert_frame_equal(*(c[columns] for c in curves), rtol=1e-3)
    # The main process alone logs and writes.
    assert len((two / "train_log.txt").read_text().splitlines()) == 2
    files = [{path.name for path in folder.iterdir()} for folder in (one, two)]
    assert files[0] == files[1]


def test_another_number_resumes_at_an_epochs_end(small_corpus, tmp_path):
    folder = tmp_path / "run"
    for epochs, processes in enumerate((1, 2, 1), start=1):
        run(processes, folder, small_corpus, number_of_epochs=epochs)
        curve = pd.read_csv(folder / "curve.csv")
        assert list(curve["epoch"]) == list(range(1, epochs + 1))
    result = json.loads((folder / "result.json").read_text())
    assert result["epochs_run"] == 3


def test_spmamba_trains_in_two_processes(small_corpus, tmp_path):
    folder = run(2, tmp_path, small_corpus, model="spmamba", batch_size=1)
    assert pd.read_csv(folder / "test.csv")["si_sdr"].notna().all()


KILLED = """
import os, signal, sys, train

original = train.Separation.on_fit_batch_end

def kill(self, *arguments):
    original(self, *arguments)
    if self.batches.epoch == 2 and self.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)

train.Separation.on_fit_batch_end = kill
train.main(sys.argv[1:])
"""


def test_processes_that_were_killed_come_to_the_same(small_corpus, tmp_path):
    options = {
        "model": "sepformer",
        "dropout": 0.1,
        "ema_decay": 0.9,
        "batch_size": 1,
        "number_of_epochs": 2,
        "ckpt_interval_steps": 3,
    }
    whole = run(2, tmp_path / "whole", small_corpus, **options)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    folder = tmp_path / "killed"
    process = launch(2, small_corpus, folder, script=[script], **options)
    assert process.returncode != 0
    killed = run(2, folder, small_corpus, **options)
    assert_same_runs(whole, killed)


def test_a_mistake_is_reported_once(tmp_path):
    process = launch(2, tmp_path / "nothing", tmp_path)
    assert process.returncode != 0
    lines = process.stderr.splitlines()
    assert sum(line.startswith("Error: ") for line in lines) == 1
    assert "nothing" in process.stderr


# Of which batches of an epoch the second process's loss is not finite. Groups
# of two batches: in the first the loss, at the second it is averaged; the fifth
# is a group by itself.
LOST = [(1,), (2,), (1, 2), (5,)]
COUNTS = [1, 1, 2, 1]  # of the batches themselves

POISONED = """
import sys
import torch
import train
from pathlib import Path

original = train.Separation.compute_forward

def forward(self, batch, stage):
    estimates = original(self, batch, stage)
    rank = torch.distributed.get_rank()
    steps = {lost}[self.batches.epoch - 1]
    bad = rank == 1 and stage == train.sb.Stage.TRAIN and self.step in steps
    return estimates * (float("nan") if bad else 1.0)

def save(self, epoch, *arguments):
    rank = torch.distributed.get_rank()
    weights = self.hparams.separator.state_dict()
    torch.save(weights, Path(sys.argv[1]) / f"{{epoch}}_{{rank}}.pt")
    finish(self, epoch, *arguments)

finish = train.Separation.finish_epoch
train.Separation.compute_forward = forward
train.Separation.finish_epoch = save
train.main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("factor", "skipped"), [(2, [1, 2, 2, 1]), (1, COUNTS)]
)
def test_a_loss_of_one_process_is_skipped_by_all(
    factor, skipped, small_corpus, tmp_path
):
    script = tmp_path / "poisoned.py"
    script.write_text(POISONED.format(lost=LOST))
    run(
        2,
        tmp_path / "run",
        small_corpus,
        script=[script, tmp_path],
        number_of_epochs=len(LOST),
        batch_size=1,
        grad_accumulation_factor=factor,
    )
    for epoch in range(1, len(LOST) + 1):
        first, second = (
            torch.load(tmp_path / f"{epoch}_{rank}.pt") for rank in (0, 1)
        )
        assert all(torch.equal(first[name], second[name]) for name in first)
    curve = pd.read_csv(tmp_path / "run/curve.csv")
    # All of a group whose averaged loss or gradient was not finite.
    assert list(curve["skipped_batches"]) == skipped


def make_batches(n_rows, batch_size, processes=1, rank=0):
    """Make the batches of a process."""
    rows = [
        {"ID": str(n), "environment": "indoor", "duration": 1.0}
        for n in range(n_rows)
    ]
    return TrainingBatches(
        rows,
        STAGES,
        seed=1,
        batch_size=batch_size,
        size=None,
        segment=None,
        sample_rate=8000,
        processes=processes,
        rank=rank,
    )


@pytest.mark.parametrize("n_rows", [1, 7, 12, 13])
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("factor", [1, 2])
def test_processes_share_the_batches_of_one(n_rows, processes, factor):
    alone = make_batches(n_rows, 2 * processes)
    together = [
        make_batches(n_rows, 2, processes, rank) for rank in range(processes)
    ]
    assert {len(batches) for batches in together} == {len(alone)}
    shares = zip(*together, strict=True)
    weighted = {}
    for step, (batch, parts) in enumerate(zip(alone, shares, strict=True), 1):
        assert all(parts)
        counted = []
        for batches, part in zip(together, parts, strict=True):
            weight = batches.weight(step, factor)
            if weight:
                counted += part
                # Mean over the part, then over the processes.
                share = weight / len(part) / processes
                group = weighted.setdefault((step - 1) // factor, [])
                group += [share] * len(part)
        assert counted == batch
    for shares in weighted.values():
        assert shares == pytest.approx([1 / len(shares)] * len(shares))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to\nallocate"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB"),
        MemoryError(),
    ],
)
def test_errors_for_a_lack_of_memory(error):
    assert is_out_of_memory(error)


def test_the_cpus_error_for_a_lack_of_memory():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**48)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


# GPUs, by stand-ins


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are GPUs, and that torchrun started this process."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    for name, value in (
        ("RANK", 5),
        ("LOCAL_RANK", 1),
        ("LOCAL_WORLD_SIZE", 4),
    ):
        monkeypatch.setenv(name, str(value))


def test_each_process_has_a_gpu_of_its_own(gpus, monkeypatch):
    device = set_up_device({"device": "cuda"})
    joined = []
    monkeypatch.setattr(processes_module, "ddp_init_group", joined.append)
    given = RunOptions(device="cuda", overridden_args={"device"})
    run_opts = join_processes(given, device)
    assert joined == [run_opts]
    assert run_opts.device == device == "cuda:1"
    assert run_opts.distributed_backend == "nccl"
    # If the YAML file names the device, the process's own goes before it.
    assert "device" in join_processes(RunOptions(), device).overridden_args


def test_a_single_gpu_does_not_do_for_several_processes(gpus, monkeypatch):
    with pytest.raises(UserError, match="cuda:0 is one GPU.* --device cuda"):
        set_up_device({"device": "cuda:0"})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert set_up_device({"device": "cuda:3"}) == "cuda:3"


@pytest.fixture
def tf32_after():
    """Switch back what the test switches."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.parametrize("capability", [7, 9])
def test_the_gpu_and_its_precision_are_described(
    tf32, capability, monkeypatch, tf32_after
):
    set_up_device({"device": "cpu", "tf32": tf32})
    backends = torch.backends
    for precision in (
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.cudnn.rnn.fp32_precision,
    ):
        assert (precision == "tf32") == tf32
    gpu = {"name": "H200", "major": capability, "minor": 0}
    gpu = SimpleNamespace(**gpu, total_memory=150_754_820_096)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    def set_version(pointer):  # as CUDA gives it
        pointer._obj.value = 12080

    driver = SimpleNamespace(cuDriverGetVersion=set_version)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    found = describe_gpu("cuda:1")
    del found["cudnn"]
    assert found == {
        "name": "H200",
        "capability": f"{capability}.0",
        "memory": 150.8,
        "cuda": "13.0",
        "driver": "12.8",
        "tf32": tf32 and capability > 7,
    }
    assert describe_gpu("cpu") is None
