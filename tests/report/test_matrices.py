import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hcexp.analysis.written import Connections
from hcexp.report import build, html
from hcexp.report.matrices import LEVELS, RowMatrices, matrices, matrix_data, panels


def test_the_first_analysed_seed_of_every_row(sweep, finished, analysed, tmp_path):
    outcomes = []
    for label, seed in (("base", 0), ("base", 1), ("row", 2), ("row", 0), ("row", 1), ("other", 0)):
        outcomes.append(replace(finished(label, seed, 4.0), directory=tmp_path / f"{label}-{seed}"))
        if (label, seed) in {("base", 0), ("base", 1), ("row", 1), ("row", 2)}:
            written = analysed(outcomes[-1].directory, n=2, shift=seed / 4)
    found = matrices(sweep(labels=("base", "row", "other"), table=None), outcomes)
    assert [(row.label, row.seed) for row in found.rows] == [("base", 0), ("row", 1)] and found.remarks == ()
    assert found.rows[1].connections.C_0[0, 0] == 0.75 and found.rows[0].connections.kinds == written.kinds


def test_a_table_that_cannot_be_read_is_told_and_the_next_seed_taken(sweep, finished, analysed, tmp_path):
    outcomes = [replace(finished("base", seed, 4.0), directory=tmp_path / str(seed)) for seed in (0, 1)]
    for outcome in outcomes:
        analysed(outcome.directory)
    (file,) = (tmp_path / "0" / "analysis").glob("*.csv")
    file.write_text("row\n1\n")
    found = matrices(sweep(labels=("base",), table=None), outcomes)
    assert [row.seed for row in found.rows] == [1]
    assert found.remarks[0].startswith("base, seed 0: ") and str(file) in found.remarks[0]
    assert found.remarks[0].replace("'", "&#39;") in html(build(sweep(labels=("base",), table=None), outcomes, "tiny"))


def test_an_analysis_of_another_step_is_told_and_not_drawn(sweep, finished, analysed, tmp_path):
    outcomes = [replace(finished("base", seed, 4.0), directory=tmp_path / str(seed)) for seed in (0, 1)]
    for outcome, step in zip(outcomes, (50, 100), strict=True):
        analysed(outcome.directory, step=step)
    of_sweep = sweep(labels=("base",), seeds=(0, 1), table=None)
    found = matrices(of_sweep, outcomes)
    assert [row.seed for row in found.rows] == [1], "the next seed stands for the row"
    (remark,) = found.remarks
    assert remark == (
        "base, seed 0: its analysis is of step 50, and the run ended at step 100: left out; "
        f"hcexp analyse {tmp_path / '0'} makes it anew."
    )
    assert matrices(of_sweep, outcomes[:1]).rows == ()
    assert remark in html(build(of_sweep, outcomes, "tiny"))


def test_weights_that_are_not_finite_are_told_and_not_drawn(sweep, finished, analysed, tmp_path):
    outcome = replace(finished("base", 0, 4.0), directory=tmp_path)
    analysed(tmp_path, shift=float("nan"))
    report = build(sweep(labels=("base",), seeds=(0,), table=None), [outcome], "tiny")
    assert report.matrices.rows == () and "not all weights" in report.matrices.remarks[0]
    assert "base, seed 0: not all weights of its connections are finite." in html(report)


def test_the_scale_leaves_out_the_last_hidden_vector(sweep, finished, analysed, tmp_path):
    outcome = replace(finished("base", 0, 4.0), directory=tmp_path)
    one = analysed(tmp_path, n=1)
    # Ten weights of 0.5 and ten of 0.25; the five of the last hidden vector are 1.
    assert (one.C_0[-1] == 1).all()
    assert matrices(sweep(labels=("base",), table=None), [outcome]).limit == 0.5


def test_without_an_analysis_there_is_no_section(sweep, losses):
    report = build(sweep(), losses({"OLMo-1B": [4.0]}), "tiny")
    assert report.matrices.rows == () and report.matrices.limit == 1.0
    assert "matrices-title" not in html(report) and "matrix-data" not in html(report)


@pytest.fixture
def row():
    C_0 = np.array([[1.0, 0.0, 0.0], [0.5, -0.5, 0.0], [-3.0, 0.001, 1.0]])
    C = np.array([[[1.0, 0.0, 0.0], [1.0, 0.25, 0.0]], [[0.0, 0.0, 0.0], [0.0, -1.0, 0.0]]])
    return RowMatrices("DHC×2", 0, Connections(C_0, C, ("attention", "feed_forward")))


def drawn(panel):
    """The cells as the paths colour them: sign times level."""
    cells = np.zeros_like(panel.values)
    for sign, level, path in panel.paths:
        for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1H(\d+)z", path):
            assert x == back
            cells[int(y), int(x) : int(x) + int(width)] += level if sign == "more" else -level
    return cells


def test_colours_are_the_weights_up_to_the_scale_s_end(row):
    first, *streams = panels(row, limit=1.0)
    assert (drawn(first) == LEVELS * np.clip(np.round(first.values * 2) / 2, -1, 1)).all()
    for panel, C in zip(streams, row.connections.C, strict=True):
        assert (drawn(panel) == LEVELS * C).all()
    assert [panel.title for panel in streams] == ["stream 1", "stream 2"]


def test_neighbours_of_one_colour_are_one_rectangle(row):
    wide = row.connections._replace(C_0=np.full((3, 3), 0.5))
    (path,) = next(panels(RowMatrices("a", 0, wide), 1.0)).paths
    assert path == ("more", LEVELS // 2, "M0 0h3v1H0zM0 1h3v1H0zM0 2h3v1H0z")


def test_rows_and_columns_are_named_and_attention_marked(row):
    first, stream, _ = panels(row, 1.0)
    assert first.column_names == (
        "the embedding",
        "the output of sublayer 1 (attention)",
        "the output of sublayer 2 (feed-forward)",
    )
    assert first.row_names[1:] == ("the input of sublayer 2 (feed-forward)", "the last hidden vector")
    assert stream.row_names[0] == "stream 1 past sublayer 1 (attention)"
    assert (first.attention_rows, first.attention_columns) == ((0,), (1,))


def test_wider_embeddings_and_single_streams(row):
    C_0, C = np.ones((4, 4)), np.ones((1, 2, 4))
    (first,) = panels(RowMatrices("a", 0, Connections(C_0, C, ("feed_forward", "attention"))), 1.0)
    assert first.column_names[:2] == ("the embedding, slice 1", "the embedding, slice 2")
    assert first.row_names[-1] == "the last hidden vector, slice 2"
    assert (first.attention_rows, first.attention_columns) == ((1,), (3,))


def test_the_data_has_every_weight(row):
    data = json.loads(json.dumps(matrix_data(panels(row, 1.0))))
    assert [np.array(each["values"]).shape for each in data] == [(3, 3), (2, 3), (2, 3)]
    assert data[0]["values"][2] == [-3.0, 0.001, 1.0]


def test_the_page_draws_every_panel(whole_report):
    text = html(whole_report)
    # Two rows have a single stream and C^(0) alone; DHC×2 has two, and DHC×4 three here.
    assert text.count('<svg class="matrix"') == 1 + 1 + (1 + 2) + (1 + 3)
    raw = text[text.index('id="matrix-data">') :]
    data = json.loads(raw[raw.index(">") + 1 : raw.index("</script>")])
    assert sorted(map(int, re.findall(r'data-panel="(\d+)"', text))) == list(range(len(data)))
