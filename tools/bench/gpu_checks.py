"""Checks of ``gpu_check.py``, which calls each function by its name.

They compare with the CPU, with FP64 or with what an uninterrupted run gives. A
corpus of a few short mixtures lies in the recipe's folder.
"""

import copy
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import evaluate
import measuring
import pandas as pd
import separate
import soundfile
import torch
import train
from gpu_check import ROOT, Result
from polsess.commands import write_options
from polsess.files import RECIPE
from polsess.models import mamba
from polsess.processes import describe_gpu, set_up_device
from polsess.run_folder import read_curve, software_versions
from torch.autograd import DeviceType
from torch.profiler import profile, supported_activities

import speechbrain as sb
from speechbrain.dataio.batch import PaddedBatch

CORPUS = RECIPE / "samples/corpus"
TRAIN = RECIPE / "separation/train.py"
EPOCHS = 3  # of a run that is killed in the first
WARM_UP, STEPS, PROFILED = 5, 30, 5

# It asks pip for all versions, which takes seconds in each training.
sb.utils.logger.get_environment_description = str


def prepare(result: Result) -> None:
    """Choose the device."""
    result.device = result.requested if torch.cuda.is_available() else "cpu"
    set_up_device({"device": result.device})
    torch.manual_seed(0)


def environment(result: Result) -> None:
    """GPU, driver and versions."""
    result.notes.update(
        **software_versions(),
        triton=version("triton") if find_spec("triton") else "none",
        compiler=shutil.which("cc") or "none",  # Triton's launchers need it
        cpus=os.cpu_count(),
    )
    result.require(
        result.device == result.requested,
        "no NVIDIA GPU that torch can use: what runs on the CPU is run there",
    )
    gpu = describe_gpu(result.device) or {}
    result.notes.update(**{f"gpu_{name}": value for name, value in gpu.items()})


# Networks and layers


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Find the largest error, relative to the largest value."""
    found, expected = found.detach().cpu(), expected.detach().cpu()
    return float((found - expected).abs().max() / expected.abs().max())


def run_layer(
    layer: mamba.Mamba, hidden: torch.Tensor, backend: Callable | None = None
) -> list[torch.Tensor]:
    """Compute a layer's output, and all gradients in some direction."""
    hidden = hidden.detach().requires_grad_()
    backend = backend or mamba.choose_backend(hidden.device)
    with mock.patch.object(mamba, "choose_backend", return_value=backend):
        output = layer(hidden)
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(output.shape, generator=generator).to(output)
    inputs = [hidden, *layer.parameters()]
    return [output, *torch.autograd.grad(output, inputs, direction)]


def scan(result: Result, backend: str) -> None:
    """A Mamba layer of a backend: against FP64, and twice the same."""
    result.need_gpu(backend)
    errors = []
    for sizes in ({"d_model": 64}, {"d_model": 7, "d_state": 5, "expand": 3}):
        layer = mamba.Mamba(**sizes).to(result.device)
        exact = copy.deepcopy(layer).double()
        for length in (1, 15, 126, 498):
            hidden = torch.randn(4, length, sizes["d_model"]).to(result.device)
            expected = run_layer(exact, hidden.double())
            found = run_layer(layer, hidden, mamba.BACKENDS[backend])
            errors.append([*map(error, found, expected)])
            again = run_layer(layer, hidden, mamba.BACKENDS[backend])
            result.require(
                backend == "mamba_ssm"  # its sums are of any order
                or all(map(torch.equal, found, again)),
                f"two calls differ at length {length}",
            )
    result.at_most("output", max(e[0] for e in errors), 1e-5)
    result.at_most("gradients", max(max(e[1:]) for e in errors), 1e-4)


def layer(result: Result, shape: str) -> None:
    """The Mamba layer at a shape of SPMamba's: against the CPU's, and time."""
    result.need_gpu()
    sequences, length = map(int, shape.split("x"))
    here = mamba.Mamba(64)
    there = copy.deepcopy(here).to(result.device)
    hidden = torch.randn(sequences, length, 64)
    moved = hidden.to(result.device)
    errors = [*map(error, run_layer(there, moved), run_layer(here, hidden))]
    result.at_most("output", errors[0], 1e-5)
    result.at_most("gradients", max(errors[1:]), 1e-4)

    backend = mamba.choose_backend(result.device)
    names = {function: name for name, function in mamba.BACKENDS.items()}
    result.notes.update(backend=names[backend])
    read_peak()
    with torch.no_grad():
        forward = measuring.fastest(there, moved)
    both = measuring.fastest(lambda: there(moved).sum().backward())
    result.notes.update(forward_ms=1e3 * forward, both_ms=1e3 * both)
    result.notes.update(peak_gb=read_peak())


def read_peak() -> float:
    """Wait for the GPU; read its peak memory since this was called, in GB."""
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return peak


def network(result: Result, model: str) -> None:
    """A published network, forward and backward: against the CPU's."""
    here = measuring.build(model)
    there = copy.deepcopy(here).to(result.device)
    mixtures = measuring.make_mixtures(1, 0.5)
    expected = measuring.output_and_gradient(here, mixtures)
    found = measuring.output_and_gradient(there, mixtures.to(result.device))
    result.at_most("output", error(found[0], expected[0]), 1e-4)
    difference = (found[1].cpu() - expected[1]).norm() / expected[1].norm()
    result.at_most("gradients", float(difference), 1e-2)


# Training steps


class PreparedError(Exception):
    """What takes the place of a training that train.py has prepared."""


def prepare_training(
    result: Result, model: str, seconds: float, **options: Any
) -> tuple[train.Separation, PaddedBatch]:
    """Let train.py prepare a training; make a batch of the YAML's size.

    Arguments
    ---------
    result : Result
        The check's.
    model : str
        Name of the YAML file.
    seconds : float
        Length of the mixtures, in which one of the corpus is repeated.
    **options : object
        Further ones of ``train.py``.

    Returns
    -------
    brain : Separation
        At the start of the first epoch.
    batch : PaddedBatch
        In pinned memory, if there is a GPU.
    """

    def hand_over(brain, epochs, train_loader, valid_loader):
        raise PreparedError(brain, train_loader)

    arguments = train_arguments(
        result, model, {"data_folder": CORPUS, "num_workers": 0, **options}
    )
    try:
        with mock.patch.object(train.Separation, "fit", hand_over):
            train.main(arguments)
    except PreparedError as prepared:
        brain, loader = prepared.args
    brain.on_fit_start()
    brain.on_stage_start(sb.Stage.TRAIN, 1)
    brain.modules.train()
    brain.step = 1
    example = loader.dataset[next(iter(loader.batch_sampler))[0]]
    samples = round(seconds * measuring.RATE)
    times = -(-samples // len(example["mixture"]))
    example["mixture"] = example["mixture"].repeat(times)[:samples]
    example["targets"] = example["targets"].repeat(times, 1)[:samples]
    batch = PaddedBatch([example] * brain.hparams.batch_size)
    return brain, batch if result.device == "cpu" else batch.pin_memory()


def train_arguments(
    result: Result, model: str, options: dict, folder: str = "run"
) -> list[str]:
    """Make arguments of train.py."""
    given = {"device": result.device, "output_folder": result.folder / folder}
    texts = {name: str(value) for name, value in (options | given).items()}
    words = write_options(texts | {"noprogressbar": None})
    return [str(RECIPE / f"hparams/{model}.yaml"), *words]


def steps(result: Result, precision: str, model: str, **options: Any) -> None:
    """Twenty steps of a published network in half precision."""
    result.need_gpu()
    options |= {"precision": precision, "batch_size": 1}
    brain, batch = prepare_training(result, model, 0.5, **options)
    losses = [float(brain.fit_batch(batch)) for _ in range(20)]
    result.notes.update(first_loss=losses[0], last_loss=losses[-1])
    result.notes.update(skipped=brain.skipped.in_epoch)
    result.require(losses[-1] < losses[0], "the loss has not fallen")  # or NaN


def speed(result: Result, precision: str, model: str, **options: Any) -> None:
    """Thirty steps of a published network, 4 s, with the YAML's batch size."""
    result.need_gpu()
    options |= {"precision": "fp32", "tf32": precision == "tf32"}
    brain, batch = prepare_training(result, model, 4.0, **options)
    for _ in range(WARM_UP):
        brain.fit_batch(batch)
    read_peak()
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = brain.fit_batch(batch)
    peak = read_peak()
    per_step = (time.perf_counter() - start) / STEPS
    result.notes.update(steps_per_s=1 / per_step, peak_gb=peak)
    result.require(bool(loss.isfinite()), "the loss is not finite")
    waits = count_synchronisations(brain, batch)
    result.at_most("synchronisations a step", waits, 1)
    with profile(activities=supported_activities()) as profiler:
        for _ in range(PROFILED):
            brain.fit_batch(batch)
        torch.cuda.synchronize()
    kernels = [
        event
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    # Those of several streams at once count each.
    busy = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    count = sum(kernel.count for kernel in kernels)
    result.notes.update(
        gpu_share=busy / PROFILED / per_step, kernels_per_step=count // PROFILED
    )


def count_synchronisations(
    brain: train.Separation, batch: PaddedBatch
) -> float:
    """Count how often a training step waits for the GPU, as torch warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        for _ in range(PROFILED):
            brain.fit_batch(batch)
        torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "synchronizing CUDA" in str(w.message)]
    return len(waits) / PROFILED


# Commands


def tiny(model: str, **options: Any) -> dict:
    """Read the options of a tiny training, SpeechBrain's debug run."""
    table = pd.read_csv(ROOT / "tests/recipes/PolSESS.csv")
    ours = table["Hparam_file"].str.endswith(f"/{model}.yaml")
    flags = shlex.split(table.loc[ours, "test_debug_flags"].item())
    found = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    return found | {"data_folder": CORPUS, **options}


def run_command(
    result: Result, *arguments: object, status: int = 0, **environment: str
) -> str:
    """Run a command in a process of its own; keep and return what it printed.

    The check fails unless the command's exit status is ``status``.
    """
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )
    result.notes.update(output=ended.stdout.splitlines()[-20:])
    ends = f"exit status {ended.returncode}"
    result.require(ended.returncode == status, ends)
    return ended.stdout


def training(result: Result, model: str) -> None:
    """train.py of a tiny network, killed and resumed; then the test commands.

    The resumed run is compared with one that was not interrupted; evaluate.py
    and separate.py with themselves on the CPU.
    """
    options = tiny(model, number_of_epochs=EPOCHS, deterministic=True)
    whole, parts = result.folder / "whole", result.folder / "parts"
    train.main(train_arguments(result, model, options, "whole"))
    # So many epochs that it does not end before it is killed
    longer = options | {"number_of_epochs": 500, "ckpt_interval_steps": 1}
    arguments = train_arguments(result, model, longer, "parts")
    process = subprocess.Popen([sys.executable, TRAIN, *arguments])
    while process.poll() is None and not any(parts.glob("save/CKPT*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    result.require(killed, "the run ended before it was killed")
    train.main(train_arguments(result, model, options, "parts"))
    columns = ["train_loss", "valid_si_sdr"]
    tables = [pd.read_csv(f / "curve.csv")[columns] for f in (whole, parts)]
    difference = (tables[0] - tables[1]).abs().to_numpy().max()
    result.at_most("resumed, dB", float(difference), 1e-3)
    compare_commands(result, whole)


def compare_commands(result: Result, trained: Path) -> None:
    """Compare what evaluate.py and separate.py give with the CPU's."""
    recording = next(CORPUS.glob("test/mix/*.wav"))
    scores: list = []
    estimates = []
    for device in (result.device, "cpu"):
        folder = result.folder / f"compared{len(scores)}"
        how = ["--device", device, "--output", str(folder / "evaluation")]
        how += ["--metrics", "si_sdr", "--jobs", "1"]
        evaluate.main([str(trained), *how])
        scores.append(pd.read_csv(folder / "evaluation/scores.csv")["score"])
        how = ["--device", device, "--output", str(folder)]
        separate.main([str(trained), str(recording), *how])
        files = sorted(folder.glob("*.wav"))
        audio = [torch.from_numpy(soundfile.read(file)[0]) for file in files]
        estimates.append(torch.stack(audio))
    difference = (scores[0] - scores[1]).abs().max()
    result.at_most("evaluate.py, dB", difference, 1e-2)
    result.at_most("separate.py", error(*estimates), 1e-3)


def compile(result: Result) -> None:
    """--compile: works, and the run finishes."""
    result.need_gpu("triton")
    options = tiny("convtasnet")
    arguments = train_arguments(result, "convtasnet", options)
    printed = run_command(result, TRAIN, *arguments, "--compile")
    result.require("does not work here" not in printed, "not compiled")


def torchrun(result: Result) -> None:
    """One process under torchrun, two on two GPUs, with NCCL."""
    processes = max(1, min(2, torch.cuda.device_count()))
    launcher = "-m torch.distributed.run --standalone --nproc_per_node"
    command = [*launcher.split(), processes, TRAIN]
    command += train_arguments(result, "dprnn", tiny("dprnn"))
    printed = run_command(result, *command, NCCL_DEBUG="INFO")
    with_nccl = "NCCL INFO" in printed
    result.require(with_nccl or result.device == "cpu", "NCCL was not used")


def averaging(result: Result) -> None:
    """Averaged weights of DPRNN's LSTMs: validated, and not recompacted."""
    options = tiny("dprnn", ema_decay=0.9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train.main(train_arguments(result, "dprnn", options))
    found = [w for w in caught if "contiguous" in str(w.message)]
    result.at_most("warnings of scattered weights", len(found), 0)
    curve = read_curve(result.folder / "run", ["valid_averaged_si_sdr"])
    result.require(curve is not None, "there is no curve")


def out_of_memory(result: Result) -> None:
    """A training that gets too little memory ends in one line."""
    result.need_gpu()
    total = torch.cuda.get_device_properties(result.device).total_memory
    script = (
        "import runpy, sys, torch;"
        f"torch.cuda.set_per_process_memory_fraction({4e8 / total});"
        f"runpy.run_path({str(TRAIN)!r}, run_name='__main__')"
    )
    options = {"data_folder": CORPUS, "precision": "fp32", "num_workers": 0}
    arguments = train_arguments(result, "convtasnet", options)
    printed = run_command(result, "-c", script, *arguments, status=1)
    errors = re.findall("^Error: .*", printed, re.MULTILINE)
    message = "".join(errors)
    helps = "--batch_size" in message and "--training_segment" in message
    result.notes.update(message=message.partition(" (CUDA")[0])
    result.require(len(errors) == 1 and helps, "no such message")
    result.require("Traceback" not in printed, "there is a traceback")
