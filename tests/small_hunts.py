"""Stand-ins for hunts of Orion's trials, for tests."""

# Stands in for train.py: ends its trial, or does as its options say.
STAND_IN = """
import json, os, sys, time
from pathlib import Path

words = [word for word in sys.argv[2:] if word != "--noprogressbar"]
options = dict(zip(words[::2], words[1::2]))
name = os.environ["ORION_TRIAL_ID"]
folder = Path(options["--sweep_folder"], "trials", name)
folder.mkdir(parents=True, exist_ok=True)
(folder / "process").write_text(str(os.getpid()))
(folder / "device").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "any"))
if "--wait" in options and not Path(options["--wait"]).exists():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(int(os.environ["ORION_INTERRUPT_CODE"]))
if "--kill" in options:
    os.kill(os.getpid(), 9)
if "--fill" in options:
    from polsess.commands import run
    run(lambda _: Path(options["--fill"]).write_bytes(bytes(2**20)))
names = "lr weight_decay max_grad_norm lr_factor lr_patience".split()
values = {n: json.loads(options["--" + n]) for n in names}
best = -abs(values["lr"] - 0.001)
(folder / "trial.json").write_text(json.dumps({
    "parameters": values, "ended": "finished", "reason": None, "epochs": 5,
    "objective": -best, "best_valid_si_sdr": best, "seconds": 60.0,
    "curve": [-best], "device": "cpu", "unixtime": time.time(),
}))
Path(os.environ["ORION_RESULTS_PATH"]).write_text(json.dumps([
    {"name": "objective", "type": "objective", "value": -best},
]))
"""

# Calls the tool with the stand-in.
PROGRAM = """
import sys, pathlib, sweep
from experiments import hunting
from polsess.commands import run
hunting.SEPARATION = pathlib.Path(sys.argv.pop(1))
run(sweep.main)
"""
