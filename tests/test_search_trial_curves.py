"""Curves of other trials: concurrent writers, torn and foreign files."""

import multiprocessing

from polsess.run_folder import Curve
from polsess.search.trial import OtherCurves


def write(folder, epochs, repeats=1):
    """Write a trial's curve, epoch after epoch."""
    folder.mkdir(exist_ok=True)
    for _ in range(repeats):
        curve = Curve(folder / "curve.csv")
        for epoch in range(1, epochs + 1):
            curve.add({"epoch": epoch, "lr": 0.1, "valid_si_sdr": epoch / 8})


def test_damaged_and_foreign_files_take_no_part_and_are_told_once(
    tmp_path, caplog
):
    write(tmp_path / "own", 3)
    write(tmp_path / "good", 2)
    contents = {
        "torn": "epoch,lr,valid_si_sdr\n1,0.1,2.0\n2,0.1,2",
        "nan": "epoch,lr,valid_si_sdr\n1,0.1,nan\n",
        "huge": "epoch,lr,valid_si_sdr\n1,0.1,1e308\n2,0.1,1e308\n",
        "gap": "epoch,lr,valid_si_sdr\n1,0.1,2.0\n3,0.1,2.0\n",
        "foreign": "a,b\n1,2\n",
        "empty": "",
        "started": "epoch,lr,valid_si_sdr\n",
    }
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.csv").write_text(text)
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "curve.csv").write_bytes(bytes(range(256)))
    (tmp_path / "folder" / "curve.csv").mkdir(parents=True)
    (tmp_path / "file").write_text("not a trial")
    others = OtherCurves(tmp_path / "own")
    for _ in range(2):
        assert others.read() == [[0.125, 0.25]]
    bad = ("torn", "nan", "huge", "gap", "foreign", "empty", "binary", "folder")
    for name in bad:
        told = [r for r in caplog.records if f"/{name}/" in r.getMessage()]
        assert len(told) == 1, name
    assert len(caplog.records) == len(bad)


def test_reads_whole_curves_while_they_are_written(tmp_path, caplog):
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=write, args=(tmp_path / name, 9, 8))
        for name in ("first", "second")
    ]
    for writer in writers:
        writer.start()
    others = OtherCurves(tmp_path / "own")
    seen = set()
    while any(writer.is_alive() for writer in writers):
        for curve in others.read():
            assert curve == [epoch / 8 for epoch in range(1, len(curve) + 1)]
            seen.add(len(curve))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(seen) > 3
    assert not caplog.records
    assert [len(curve) for curve in others.read()] == [9, 9]
