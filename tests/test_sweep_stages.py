"""The files of stages: which are found, and which do not agree."""

import pytest
from experiments.stages import SHIPPED, find_stages
from polsess.errors import UserError
from small_trials import written_stage
from sweep import main


def test_own_stages_replace_shipped_ones(tmp_path):
    one = written_stage(tmp_path / "one", number_of_epochs=45)
    two = written_stage(
        tmp_path / "two", "dprnn_stage2_hpopt.yaml", train_size=7
    )
    stages = find_stages("dprnn", [one, two])
    assert [stage.stage for stage in stages] == [
        *("stage1", "stage2", "stage3a", "stage3b"),
    ]
    assert stages[0].settings["number_of_epochs"] == 45
    assert stages[1].settings["train_size"] == 7
    assert stages[2].path == SHIPPED / "dprnn_stage3a_hpopt.yaml"


def test_what_next_writes_takes_the_place_of_a_file(tmp_path):
    """As `make sweep-demo` has it, with a folder that is empty at first."""
    demo, written = SHIPPED / "demo", tmp_path / "written"
    written.mkdir()
    before = find_stages("dprnn", [demo, written])
    (written / "dprnn_stage2_hpopt.yaml").write_text(before[1].path.read_text())
    after = find_stages("dprnn", [demo, written])
    assert [s.name for s in after] == [s.name for s in before]
    assert [s.path.parent for s in after] == [demo, written, demo, demo]


@pytest.mark.parametrize(
    "experiment, changes, problem",
    [
        (
            {"name": "dprnn-stage1"},
            {"stage": "stage4"},
            r"stage1_hpopt\.yaml, \S+dprnn_stage4_hpopt\.yaml: both have "
            "experiment: name dprnn-stage1",
        ),
        (
            {"name": "mine"},
            {"stage": "stage1"},
            r"stage1_hpopt\.yaml, \S+dprnn_stage4_hpopt\.yaml: both have "
            "sweep: stage stage1",
        ),
        (
            {"name": "mine"},
            {"stage": "stage4", "model": "sepformer"},
            r"stage4_hpopt\.yaml: is a file of dprnn .* model is sepformer",
        ),
        (
            {"name": "mine"},
            {"stage": "stage4", "after": "dprnn_stage3_hpopt"},
            r"stage4_hpopt\.yaml: comes after dprnn_stage3_hpopt, .* did you "
            "mean",
        ),
    ],
)
def test_stages_that_do_not_agree(tmp_path, experiment, changes, problem):
    own = written_stage(tmp_path / "own", experiment=experiment, **changes)
    (own / "dprnn_stage1_hpopt.yaml").rename(own / "dprnn_stage4_hpopt.yaml")
    with pytest.raises(UserError, match=problem):
        main(["status", "dprnn", "--sweeps", str(own)])


def test_a_file_with_another_ending_is_not_passed_over(tmp_path):
    own = written_stage(tmp_path / "own")
    (own / "dprnn_stage1_hpopt.yaml").rename(own / "dprnn_stage1.yaml")
    (own / "lab_storage.yaml").touch()  # of no model's
    with pytest.raises(UserError, match="call it dprnn_stage1_hpopt.yaml"):
        main(["status", "dprnn", "--sweeps", str(own)])


def test_a_wrong_file_of_a_stage_is_named(tmp_path):
    own = written_stage(tmp_path / "own", epochs=3)
    with pytest.raises(UserError, match=r"dprnn_stage1_hpopt\.yaml: .*epochs"):
        main(["status", "dprnn", "--sweeps", str(own)])


def test_an_algorithm_that_is_not_installed_is_told(tmp_path):
    own = written_stage(tmp_path / "own")
    text = (own / "dprnn_stage1_hpopt.yaml").read_text()
    (own / "dprnn_stage1_hpopt.yaml").write_text(
        text.replace("random", "hebo2")
    )
    command = ["run", "dprnn", "stage1", "--data_folder", "."]
    with pytest.raises(UserError, match="algorithm hebo2 is not installed"):
        main([*command, "--sweeps", str(own)])
