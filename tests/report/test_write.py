import pytest

from hcexp.report import build, csv, html, latex, markdown, parts_csv, runs_csv, write

NAMES = ["report.md", "report.csv", "report.html", "report.tex", "report-runs.csv"]


def test_five_files_and_nothing_else(sweep, losses, tmp_path):
    report = build(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}), "tiny")
    folder = tmp_path / "new" / "place"
    for _ in range(2):
        paths = write(report, folder)
        assert [path.name for path in paths] == NAMES
        assert sorted(folder.iterdir()) == sorted(paths)
    for path, text in zip(
        paths, (markdown(report), csv(report), html(report), latex(report), runs_csv(report)), strict=True
    ):
        assert path.read_text(encoding="utf-8") == text


def test_sets_have_a_file_of_their_own_while_there_are_any(evaluated, sweep, tmp_path):
    report = build(*evaluated({"v3/pile/loss": 3.0}), "tiny")
    assert [path.name for path in write(report, tmp_path)][5:] == ["report-sets.csv"]
    assert (tmp_path / "report-sets.csv").read_text(encoding="utf-8") == parts_csv(report)
    write(build(sweep(), [], "tiny"), tmp_path)
    assert not (tmp_path / "report-sets.csv").exists() and not (tmp_path / "report-runs.csv").exists()


def test_a_folder_that_is_a_file_is_an_error_of_the_system(sweep, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write(build(sweep(), [], "tiny"), tmp_path / "file")
