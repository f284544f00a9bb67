import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import hcexp.analysis
from hcexp.analysis import figures, survey, tables
from hcexp.analysis.figures.style import ATTENTION, COLOURS
from hcexp.analysis.rows import Gradient, Ratio, Summary
from hcexp.analysis.written import connections
from hcexp.run.history import Point
from tests.analysis.models import LAYERS, network, tokens
from tests.registered import MODES
from tests.residual.conftest import perturb

L = 2 * LAYERS


def measured(mode):
    model = network(mode)
    perturb(model.stream, scale=0.3)
    return survey(model, [tokens(2, 8)])


@pytest.fixture(scope="module")
def two():
    return {mode: measured(mode) for mode in ("pre_norm", "dhc")}


def panels(drawn):
    return [axes for axes in drawn.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def named(axes):
    """The lines of a panel by the run that they are of."""
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend_of(drawn):
    return [text.get_text() for legend in drawn.legends for text in legend.get_texts()]


def points(metric, values, per_step=64, first=1):
    return [Point(metric, step, step * per_step, value) for step, value in enumerate(values, first)]


def all_of(found):
    return {
        "connections": figures.connections({"a": connections(list(tables.weights(found)))}),
        "similarity": figures.similarity({"a": list(tables.similarities(found))}),
        "coefficients": figures.coefficients(list(tables.bins(found))),
        "gains": figures.gains({"a": list(tables.gain_rows(found))}),
        "streams": figures.streams({"a": list(tables.stream_uses(found))}),
        "ranks": figures.ranks({"a": list(tables.ranks(found))}),
    }


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_drawn_and_every_figure_says_what_it_shows(mode, tmp_path):
    for name, drawn in all_of(measured(mode)).items():
        drawn.draw_without_rendering()
        assert drawn.get_supxlabel() or any(axes.get_xlabel() for axes in panels(drawn)), name
        assert any(axes.get_ylabel() for axes in panels(drawn)), name


def test_the_matrices_share_one_symmetric_scale_and_mark_attention(two):
    matrices = {label: connections(list(tables.weights(found))) for label, found in two.items()}
    drawn = figures.connections(matrices)
    images = [(axes, axes.get_images()[0]) for axes in panels(drawn)]
    assert len(images) == 1 + 1 + 1 + 4
    expected = [C for one in matrices.values() for C in (one.C_0, *one.C)]
    for (axes, image), C in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image.get_array(), C)
        assert image.norm.vmin == -image.norm.vmax == images[0][1].norm.vmin < 0
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "3", "5"]
        assert list(axes.get_xticks()) == [1, 3, 5]  # the embedding is the first column
        assert to_hex(axes.xaxis.get_major_ticks()[0].tick1line.get_color()).upper() == ATTENTION
    assert [axes.get_ylabel().split("\n")[0] for axes in panels(drawn) if axes.get_ylabel()] == ["pre_norm", "dhc"]


def test_similarity_is_a_median_with_a_band(two):
    rows = {label: list(tables.similarities(found)) for label, found in two.items()}
    drawn = figures.similarity(rows)
    sublayers, blocks = panels(drawn)
    line = named(sublayers)["dhc"]
    assert list(line.get_xdata()) == list(range(2, L + 1))
    assert list(line.get_ydata()) == [row.median for row in rows["dhc"] if row.between == "sublayer"]
    band = sublayers.collections[1].get_paths()[0].vertices[:, 1]
    assert {row.low for row in rows["dhc"] if row.between == "sublayer"} <= set(band)
    assert list(named(blocks)["dhc"].get_xdata()) == [2, 3] and legend_of(drawn) == ["pre_norm", "dhc"]


def test_static_coefficients_are_lines_and_dynamic_ones_histograms():
    torch.manual_seed(0)
    static, dynamic = (figures.coefficients(list(tables.bins(measured(mode)))) for mode in ("shc", "dhc"))
    for drawn, patches in ((static, 0), (dynamic, 2)):
        first = panels(drawn)[0]  # B
        assert len(first.patches) == patches * 4 * L
        assert legend_of(drawn) == [f"stream {number}" for number in (1, 2, 3, 4)]
    values = sorted({line.get_xdata()[0] for line in panels(static)[0].get_lines() if line.get_color() == COLOURS[0]})
    assert values == sorted(b.left for b in tables.bins(measured("shc")) if (b.coefficient, b.target) == ("B", 1))


def test_gains_are_drawn_of_tokens_and_of_the_mean(two):
    rows = {label: list(tables.gain_rows(found)) for label, found in two.items()}
    forward, backward = panels(figures.gains(rows))
    expected = [row.backward for row in rows["dhc"] if row.of == "product"]
    assert list(named(backward)["dhc"].get_ydata()) == expected
    dots = [line for line in forward.get_lines() if line.get_linestyle() == "None"]
    assert list(dots[1].get_ydata()) == [row.forward for row in rows["dhc"] if row.of == "mean product"]


def test_streams_are_a_row_a_run_from_nothing_to_all(two):
    drawn = figures.streams({label: list(tables.stream_uses(found)) for label, found in two.items()})
    images = [axes.get_images()[0] for axes in panels(drawn)]
    np.testing.assert_array_equal(images[2].get_array(), two["dhc"].reads.T)
    np.testing.assert_array_equal(images[3].get_array(), two["dhc"].writes.T)
    assert all((image.norm.vmin, image.norm.vmax) == (0, 1) for image in images)


def test_gradients_stand_at_both_ends_and_over_training():
    norms = [(at, f"{kind}_{k}", 5, k * size) for at, size in (("initial", 2.0), ("checkpoint", 1.0)) for kind in
             ("block", "connections") for k in (1, 2, 3)]  # fmt: skip
    drawn = figures.gradients({"dhc": [Gradient(*row) for row in norms]})
    for axes in panels(drawn):
        assert [list(line.get_ydata()) for line in axes.get_lines()] == [[1, 2, 3], [2, 4, 6]]
    rows = [p for k in (1, 2) for p in points(f"train/grad_norm/block_{k}", [3.0 * k, 2.0 * k])]
    (axes,) = panels(figures.gradients_in_training(rows + points("train/grad_norm/embedding", [1, 1])))
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[3, 2], [6, 4]]


def test_the_colour_bar_has_the_colours_of_the_blocks():
    rows = [row for block in (1, 2, 3) for row in points(f"train/grad_norm/block_{block}", [3, 2])]
    drawn = figures.gradients_in_training(rows)
    (bar,) = (axes for axes in drawn.axes if axes.get_ylabel() == "block")
    shades = bar._colorbar.mappable
    lines = drawn.axes[0].get_lines()
    assert [line.get_color() for line in lines] == [shades.to_rgba(block) for block in (1, 2, 3)]
    assert shades.get_clim() == (1, 3)


@pytest.mark.parametrize("count", [2, 6])
def test_a_legend_is_within_its_figure(count):
    labels = [f"dhc n=4, tanh=False, lr=0.00{index}" for index in range(count)]
    norms = [Gradient(at, f"block_{block}", 1, 1.0) for at in ("checkpoint", "initial") for block in (1, 2)]
    of_training = figures.training({label: {0: points("train/loss_ema99", [2, 1])} for label in labels})
    for drawn in (of_training, figures.gradients(dict.fromkeys(labels, norms))):
        drawn.draw_without_rendering()
        box = drawn.legends[0].get_window_extent()
        assert 0 <= box.x0 and box.x1 <= drawn.bbox.width


def test_curves_of_all_seeds_with_their_spikes():
    def run(shift):
        rows = points("train/loss", [5 + shift, 4, 4.5, 3]) + points("train/loss_ema99", [5, 4.5, 4.2, 4])
        return rows + points("train/spikes", [0, 0, 1, 1]) + points("v3/mean/loss", [4, 3])

    drawn = figures.training({"a": {0: run(0)}, "b": {0: run(1), 1: run(2)}})
    training, validation = panels(drawn)
    assert legend_of(drawn) == ["a", "b"] and validation.get_title() == "v3, mean"
    marked = [line for line in training.get_lines() if line.get_marker() == "v"]
    assert [list(line.get_xdata()) for line in marked] == [[192]] * 3 and list(marked[0].get_ydata()) == [4.5]
    assert len(validation.get_lines()) == 3
    assert len({line.get_color() for line in validation.get_lines()}) == 2


def test_sets_are_curves_or_where_measured_once_dots():
    once = {"a": {0: points("v3/pile/loss", [3]) + points("v3/ice/loss", [2])}, "b": {0: points("v3/pile/loss", [4])}}
    names = ["v3/pile/loss", "v3/ice/loss"]
    (axes,) = panels(figures.parts(once, names))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["pile", "ice"]
    assert list(named(axes)["a"].get_xdata()) == [3, 2] and list(named(axes)["b"].get_xdata()) == [4]
    once["a"][0] += points("v3/pile/loss", [2], first=2)
    pile, ice = panels(figures.parts(once, names))
    assert (pile.get_title(), ice.get_title()) == ("pile", "ice")
    assert list(named(pile)["a"].get_ydata()) == [3, 2]


def test_convergence_says_what_was_not_reached():
    of = ("dhc", "pre_norm", "train/loss_ema99")
    ratios = [Ratio(*of, 0, 1.5), Ratio(*of, 1, 1.7), Ratio("shc", *of[1:], 0, 1.2), Ratio("shc", *of[1:], 1, None)]
    means = [Summary(*of, 2, 2, 1.6, 0.9), Summary("shc", *of[1:], 2, 1, None, None)]
    (axes,) = panels(figures.convergence(ratios, means))
    assert [text.get_text() for text in axes.texts] == ["1.60× ± 0.90", "not reached by 1 of 2 seeds"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[1.5, 1.7], [1.2]]


def test_a_lower_bound_is_no_ratio():
    of = ("dhc", "pre_norm", "v3/mean/loss")
    ratios = [Ratio(*of, 0, 1.5), Ratio(*of, 1, None, 2.0)]
    (axes,) = panels(figures.convergence(ratios, [Summary(*of, 2, 2, None, None, 1.75)]))
    assert [text.get_text() for text in axes.texts] == ["≥ 1.75×"]
    drawn = {line.get_marker(): list(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata())}
    assert (drawn["o"], drawn[">"]) == ([1.5], [2.0]) and "D" not in drawn


def test_what_speaks_against_the_ratios_stands_below_them():
    of = ("dhc", "pre_norm", "v3/mean/loss")
    given = [Ratio(*of, 0, 1.5)], [Summary(*of, 1, 1, 1.5, None)]
    sentence = "These ratios are biased against the variants: " + "they take the end of pre_norm, " * 5
    drawn = figures.convergence(*given, sentence)
    drawn.draw_without_rendering()
    below = drawn._supxlabel
    assert below.get_text().split() == sentence.split() and "\n" in below.get_text()
    box = below.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= drawn.bbox.width
    assert not figures.convergence(*given).get_supxlabel()


def test_there_may_be_more_runs_than_colours():
    of = [(f"variant {k}", "pre_norm", "train/loss_ema99") for k in range(20)]
    drawn = figures.convergence([Ratio(*one, 0, 1.5) for one in of], [Summary(*one, 1, 1, 1.5, None) for one in of])
    assert len(panels(drawn)[0].texts) == 20


def test_files_are_the_same_whenever_the_numbers_are(two, tmp_path):
    contents = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        png, svg = figures.save(figures.gains({"a": list(tables.gain_rows(two["dhc"]))}), tmp_path / folder, "gains")
        assert png.read_bytes().startswith(b"\x89PNG") and b"forward: absolute sums" in svg.read_bytes()
        contents.append(svg.read_bytes())
    assert contents[0] == contents[1] and b"<dc:date>" not in contents[0]


def test_nothing_is_drawn_before_it_is_asked_for_and_no_display_is_needed():
    room = Path(hcexp.analysis.__file__).parent
    for path in room.rglob("*.py"):
        tree = ast.parse(path.read_text())
        modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any("pyplot" in module for module in modules), path
        if "figures" not in path.parts:
            assert not any(module.startswith(("matplotlib", "hcexp.analysis.figures")) for module in modules), path
