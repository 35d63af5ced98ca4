"""Audio of the worst and the best mixtures of an evaluation."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from evaluated_runs import evaluated, read
from test_evaluation_foreign_corpora import write, write_table


def test_other_metrics_are_of_the_audio_that_is_written(whole):
    folder, _ = whole
    scores, _ = read(folder)
    listed = pd.read_csv(folder / "audio/examples.csv")
    assert list(listed["rank"]) == ["worst-1", "best-1"]
    first = scores[scores["variant"].isin(["SER", "SE"])]
    si_sdr = first[first["metric"] == "si_sdr"]
    assert list(listed["improvement"]) == [
        si_sdr["improvement"].min(),
        si_sdr["improvement"].max(),
    ]
    from pesq import pesq
    from pystoi import stoi

    for example in listed.to_dict("records"):
        audio = {
            path.stem: soundfile.read(path)[0]
            for path in (folder / "audio" / example["folder"]).glob("*.wav")
        }
        assert len(audio) == 5
        rows = first[first["ID"] == example["ID"]].set_index("metric")
        for n in (1, 2):
            source = audio[f"source{n}"]
            for name, file in (
                ("score", f"estimate{n}"),
                ("mixture", "mixture"),
            ):
                heard = audio[file]
                assert rows.loc["pesq", f"{name}_{n}"] == pytest.approx(
                    pesq(8000, source, heard, "nb"), abs=0.02
                )
                assert rows.loc["stoi", f"{name}_{n}"] == pytest.approx(
                    stoi(source, heard, 8000), abs=0.01
                )


def test_audio_of_what_is_not_evaluated_any_more_goes(
    trained_runs, tmp_path, capsys
):
    run, output = trained_runs("dprnn"), tmp_path / "evaluation"
    only = ("--metrics", "si_sdr", "--variants")
    evaluated(run, output, *only, "SER", "SE", "--save_audio", "1")
    listed = pd.read_csv(output / "audio/examples.csv")
    # More variants: the audio is still of rows of the table.
    evaluated(run, output, *only, "SER", "SE", "C")
    pd.testing.assert_frame_equal(
        pd.read_csv(output / "audio/examples.csv"), listed
    )
    capsys.readouterr()
    evaluated(run, output, *only, "C")
    assert not (output / "audio").exists()
    assert "audio: is of other mixtures or scores" in capsys.readouterr().err
    assert {p.name for p in output.iterdir()} == {
        *("scores.csv", "evaluation.json", ".computed.jsonl")
    }


def test_folders_of_examples_have_names_of_their_own(
    trained_runs, tmp_path, monkeypatch
):
    generator = np.random.default_rng(0)
    for name in ("s1", "s2", "other"):
        write(tmp_path / f"{name}.wav", generator.standard_normal(4000) / 9)
    path = write_table(
        tmp_path / "pairs.csv",
        ID=["a/b", "a_b", "A_b"],
        mix_wav=["s1.wav", "s2.wav", "other.wav"],
        s1_wav=["s1.wav"] * 3,
        s2_wav=["s2.wav"] * 3,
    )
    monkeypatch.chdir(tmp_path)
    scores, description = evaluated(
        trained_runs("dprnn"),
        tmp_path / "evaluation",
        *("--data_folder", path.name, "--metrics", "si_sdr"),
        *("--save_audio", "2"),
    )
    # Another program may run in another folder.
    assert description["data_folder"] == str(path)
    listed = pd.read_csv(tmp_path / "evaluation/audio/examples.csv")
    assert set(listed["ID"]) == {"a/b", "a_b", "A_b"}
    assert len(set(listed["folder"].str.lower())) == 3
    for row in listed.to_dict("records"):
        folder = tmp_path / "evaluation/audio" / row["folder"]
        mixture, _ = soundfile.read(folder / "mixture.wav")
        index = ["a/b", "a_b", "A_b"].index(row["ID"])
        file = tmp_path / ["s1.wav", "s2.wav", "other.wav"][index]
        np.testing.assert_allclose(mixture, soundfile.read(file)[0], atol=1e-4)
