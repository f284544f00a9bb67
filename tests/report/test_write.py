import pytest

from hcexp.report import build, csv, html, markdown, write


def test_three_files_and_nothing_else(sweep, losses, tmp_path):
    report = build(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}), "tiny")
    folder = tmp_path / "new" / "place"
    for _ in range(2):
        paths = write(report, folder)
        assert [path.name for path in paths] == ["report.md", "report.csv", "report.html"]
        assert sorted(folder.iterdir()) == sorted(paths)
    for path, text in zip(paths, (markdown(report), csv(report), html(report)), strict=True):
        assert path.read_text(encoding="utf-8") == text


def test_a_folder_that_is_a_file_is_an_error_of_the_system(sweep, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write(build(sweep(), [], "tiny"), tmp_path / "file")
