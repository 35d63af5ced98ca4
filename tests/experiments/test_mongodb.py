"""A search whose database is a server, by one that speaks MongoDB's protocol.

SecantusDB stands in for MongoDB. It is a process of its own, so that it can be
killed.
"""

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from experiments import database as module
from experiments.database import Database
from polsess.errors import UserError
from pymongo import MongoClient
from small_trials import arguments_of_run, written_stage
from sweep import main

pytestmark = pytest.mark.mongodb
USER = "me:secret"


class Server:
    """A server with a user in its database ``admin``.

    Arguments
    ---------
    folder : Path
        Folder of its data.
    """

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [sys.executable, "-m", "secantus", "--port"]
        self.command += [str(self.port), "--storage-path", str(folder)]
        self.command += ["--sync-on-commit"]  # since it will be killed
        self.address = f"mongodb://{USER}@127.0.0.1:{self.port}/?authSource="
        self.start()
        with MongoClient(port=self.port) as client:
            role = {"role": "readWrite", "db": "search"}
            client.admin.command("createUser", "me", pwd="secret", roles=[role])
        self.kill()
        self.start("--auth")

    def start(self, *options):
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [*self.command, *options], stderr=subprocess.DEVNULL
        )
        with MongoClient(port=self.port) as client:
            client.admin.command("ping")

    def kill(self):
        """Kill it, as the system may."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server")
    yield server
    server.kill()


def storage(server, source):
    """Write the file with the storage; ``source`` is where users are."""
    database = {"type": "mongodb", "name": "search"}
    database["host"] = server.address + source
    path = Path(f"{source}.yaml")
    path.write_text(yaml.safe_dump({"storage": {"database": database}}))
    return path


def test_two_hunts_and_a_server_that_is_killed(
    server, stand_in, tmp_path, monkeypatch, capsys
):
    with pytest.raises(UserError, match="search.yaml: cannot be used .*auth"):
        Database(None, storage(server, "search"))
    config = storage(server, "admin")
    command = [*arguments_of_run(tmp_path), "--storage_config", str(config)]
    space = {"lr_patience": "uniform(1, 3, discrete=True)"}
    written_stage(tmp_path / "own", experiment={"max_trials": 9}, space=space)
    command += ["--wait", "go"]
    for name in ("lr", "weight_decay", "max_grad_norm", "lr_factor"):
        command += [f"--{name}", "0.1"]  # which the stand-in takes

    over = threading.Event()

    def interfere():
        while len(list(Path("out").glob("*/trials/*/process"))) < 2:
            if over.wait(0.05):
                return
        server.kill()
        server.start("--auth")
        (stand_in / "go").touch()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(interfere)
        try:
            assert main([*command, "--devices", "cpu", "cpu"]) == 0
        finally:
            over.set()
        done.result()
    printed = capsys.readouterr().out
    told = "3 of 9 trials: all 3 points of the space were tried\n"
    assert printed.endswith(told)
    database = Database(None, config)
    statuses = {t.id: t.status for t in database.trials("dprnn-stage1")}
    ended = {path.parent.name for path in Path("out").rglob("trial.json")}
    assert statuses == dict.fromkeys(ended, "completed")
    # As by a hunt that is killed while it draws.
    uid = database.experiment("dprnn-stage1")["_id"]
    held = database.storage.acquire_algorithm_lock(uid=uid)
    held.__enter__()
    monkeypatch.setattr(module, "STALE_SECONDS", 0.2)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.1)
    database._release_stale_lock(database.experiment("dprnn-stage1"))
    assert database.storage.get_algorithm_lock_info(uid=uid).locked == 0
    assert "Released the lock" in capsys.readouterr().out
