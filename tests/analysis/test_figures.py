import ast
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

import hcexp.analysis
from hcexp.analysis import figures
from hcexp.analysis.convergence import Ratio, Summary
from hcexp.analysis.figures.style import ATTENTION, COLOURS
from hcexp.analysis.tables import connections, frame, numbers
from tests.analysis.models import L, measured
from tests.analysis.test_curves import points

OF = ("dhc", "pre_norm", "v3/mean/loss")  # of a ratio: the variant, the baseline and the metric


def of_two(name):
    """This table of pre-norm and of dhc."""
    return {mode: getattr(numbers(measured(mode)), name) for mode in ("pre_norm", "dhc")}


def panels(drawn):
    return [axes for axes in drawn.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def named(axes):
    """The lines of a panel by the run that they are of."""
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend_of(drawn):
    return [text.get_text() for legend in drawn.legends for text in legend.get_texts()]


@pytest.mark.parametrize("mode", ["pre_norm", "two_hop", "dhc"])
def test_every_figure_is_drawn_and_says_what_it_shows(mode):
    found = numbers(measured(mode))
    of_runs = {name: {"a": getattr(found, name)} for name in ("similarity", "gains", "streams", "ranks")}
    drawn = [getattr(figures, name)(runs) for name, runs in of_runs.items()]
    drawn.append(figures.connections({"a": connections(found.connections, found.sublayers)}))
    drawn.append(figures.coefficients(found.coefficient_bins))
    for one in drawn:
        one.draw_without_rendering()
        assert one.get_supxlabel() or any(axes.get_xlabel() for axes in panels(one))
        assert any(axes.get_ylabel() for axes in panels(one))


def test_the_matrices_share_one_symmetric_scale_and_mark_attention():
    cells, sublayers = of_two("connections"), of_two("sublayers")
    matrices = {label: connections(cells[label], sublayers[label]) for label in cells}
    drawn = figures.connections(matrices)
    images = [(axes, axes.get_images()[0]) for axes in panels(drawn)]
    expected = [C for one in matrices.values() for C in (one.C_0, *one.C)]
    for (axes, image), C in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image.get_array(), C)
        assert image.norm.vmin == -image.norm.vmax == images[0][1].norm.vmin < 0
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "3", "5"]
        assert list(axes.get_xticks()) == [1, 3, 5]  # the embedding is the first column
        assert to_hex(axes.xaxis.get_major_ticks()[0].tick1line.get_color()).upper() == ATTENTION
    assert [axes.get_ylabel().split("\n")[0] for axes in panels(drawn) if axes.get_ylabel()] == ["pre_norm", "dhc"]


def test_similarity_is_a_median_with_a_band():
    rows = of_two("similarity")
    drawn = figures.similarity(rows)
    sublayers, blocks = panels(drawn)
    line, of_sublayers = named(sublayers)["dhc"], rows["dhc"][rows["dhc"]["between"] == "sublayer"]
    assert list(line.get_xdata()) == list(range(2, L + 1))
    assert list(line.get_ydata()) == list(of_sublayers["median"])
    assert set(of_sublayers["low"]) <= set(sublayers.collections[1].get_paths()[0].vertices[:, 1])
    assert list(named(blocks)["dhc"].get_xdata()) == [2, 3] and legend_of(drawn) == ["pre_norm", "dhc"]


def test_static_coefficients_are_lines_and_dynamic_ones_histograms():
    bins = {mode: numbers(measured(mode)).coefficient_bins for mode in ("shc", "dhc")}
    for mode, patches in (("dhc", 2), ("shc", 0)):
        drawn = figures.coefficients(bins[mode])
        of_B = panels(drawn)[0]
        assert len(of_B.patches) == patches * 4 * L
        assert legend_of(drawn) == [f"stream {number}" for number in (1, 2, 3, 4)]
    values = sorted({line.get_xdata()[0] for line in of_B.get_lines() if line.get_color() == COLOURS[0]})
    of_B = (bins["shc"]["coefficient"] == "B") & (bins["shc"]["target"] == 1)
    assert values == sorted(bins["shc"][of_B]["left"])


def test_gains_are_drawn_of_tokens_and_of_the_mean():
    rows = of_two("gains")
    forward, backward = panels(figures.gains(rows))
    dhc = rows["dhc"].groupby("of")
    assert list(named(backward)["dhc"].get_ydata()) == list(dhc.get_group("product")["backward"])
    dots = [line for line in forward.get_lines() if line.get_linestyle() == "None"]
    assert list(dots[1].get_ydata()) == list(dhc.get_group("mean product")["forward"])


def test_streams_are_a_row_a_run_from_nothing_to_all():
    images = [axes.get_images()[0] for axes in panels(figures.streams(of_two("streams")))]
    np.testing.assert_array_equal(images[2].get_array(), measured("dhc").reads.T)
    np.testing.assert_array_equal(images[3].get_array(), measured("dhc").writes.T)
    assert all((image.norm.vmin, image.norm.vmax) == (0, 1) for image in images)


def test_gradients_stand_at_both_ends():
    rows = [
        (at, f"{kind}_{k}", 5, k * size)
        for at, size in (("initial", 2.0), ("checkpoint", 1.0))
        for kind in ("block", "connections")
        for k in (1, 2, 3)
    ]
    for axes in panels(figures.gradients({"dhc": frame("gradients", rows)})):
        assert [list(line.get_ydata()) for line in axes.get_lines()] == [[1, 2, 3], [2, 4, 6]]


def test_gradients_over_training_have_the_colours_of_the_blocks():
    blocks = {f"train__grad_norm__block_{k}": [3 * k, 2 * k] for k in (1, 2, 3)}
    drawn = figures.gradients_in_training(points(1, **blocks, train__grad_norm__embedding=[1, 1]))
    axes, bar = drawn.axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[3, 2], [6, 4], [9, 6]]
    shades = bar._colorbar.mappable
    assert [line.get_color() for line in axes.get_lines()] == [shades.to_rgba(block) for block in (1, 2, 3)]
    assert bar.get_ylabel() == "block" and shades.get_clim() == (1, 3)


@pytest.mark.parametrize("count", [2, 6])
def test_a_legend_is_within_its_figure(count):
    labels = [f"dhc n=4, tanh=False, lr=0.00{index}" for index in range(count)]
    norms = [(at, f"block_{block}", 1, 1.0) for at in ("checkpoint", "initial") for block in (1, 2)]
    norms = frame("gradients", norms)
    of_training = figures.training({label: {0: points(1, train__loss_ema99=[2, 1])} for label in labels})
    for drawn in (of_training, figures.gradients(dict.fromkeys(labels, norms))):
        drawn.draw_without_rendering()
        box = drawn.legends[0].get_window_extent()
        assert 0 <= box.x0 and box.x1 <= drawn.bbox.width


def test_curves_of_all_seeds_with_their_spikes():
    def run(shift):
        losses = {"train__loss": [5 + shift, 4, 4.5, 3], "train__loss_ema99": [5, 4.5, 4.2, 4]}
        return points(1, **losses, train__spikes=[0, 0, 1, 1], v3__mean__loss=[4, 3])

    drawn = figures.training({"a": {0: run(0)}, "b": {0: run(1), 1: run(2)}})
    training, validation = panels(drawn)
    assert legend_of(drawn) == ["a", "b"] and validation.get_title() == "v3, mean"
    marked = [line for line in training.get_lines() if line.get_marker() == "v"]
    assert [list(line.get_xdata()) for line in marked] == [[192]] * 3 and list(marked[0].get_ydata()) == [4.5]
    assert len(validation.get_lines()) == 3
    assert len({line.get_color() for line in validation.get_lines()}) == 2


def test_sets_are_curves_or_where_measured_once_dots():
    once = {"a": {0: points(1, v3__pile__loss=[3], v3__ice__loss=[2])}, "b": {0: points(1, v3__pile__loss=[4])}}
    names = ["v3/pile/loss", "v3/ice/loss"]
    (axes,) = panels(figures.parts(once, names))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["pile", "ice"]
    assert list(named(axes)["a"].get_xdata()) == [3, 2] and list(named(axes)["b"].get_xdata()) == [4]
    twice = {**once, "a": {0: points(1, v3__pile__loss=[3, 2], v3__ice__loss=[2])}}
    pile, ice = panels(figures.parts(twice, names))
    assert (pile.get_title(), ice.get_title()) == ("pile", "ice")
    assert list(named(pile)["a"].get_ydata()) == [3, 2]


def test_convergence_says_what_was_not_reached_and_a_lower_bound_is_no_ratio():
    shc, bound = ("shc", *OF[1:]), ("bound", *OF[1:])
    ratios = [Ratio(*OF, 0, 1.5), Ratio(*OF, 1, 1.7), Ratio(*shc, 0, 1.2), Ratio(*shc, 1, None)]
    ratios += [Ratio(*bound, 0, 1.5), Ratio(*bound, 1, None, 2.0)]
    means = [Summary(*OF, 2, 2, 1.6, 0.9), Summary(*shc, 2, 1, None, None), Summary(*bound, 2, 2, None, None, 1.75)]
    (axes,) = panels(figures.convergence(ratios, means))
    assert [text.get_text() for text in axes.texts] == ["1.60× ± 0.90", "not reached by 1 of 2 seeds", "≥ 1.75×"]
    drawn = {marker: [] for marker in ("o", ">", "D")}
    for line in axes.get_lines()[1:]:  # the first is at 1
        drawn.get(line.get_marker(), []).extend(line.get_xdata())
    assert drawn == {"o": [1.5, 1.7, 1.2, 1.5], ">": [2.0], "D": [1.6]}


def test_what_speaks_against_the_ratios_stands_below_them_whose_runs_may_be_more_than_colours():
    of = [(f"variant {k}", *OF[1:]) for k in range(20)]
    given = [Ratio(*one, 0, 1.5) for one in of], [Summary(*one, 1, 1, 1.5, None) for one in of]
    sentence = "These ratios are biased against the variants: " + "they take the end of pre_norm, " * 5
    drawn = figures.convergence(*given, sentence)
    drawn.draw_without_rendering()
    assert len(panels(drawn)[0].texts) == 20
    below = drawn._supxlabel
    assert below.get_text().split() == sentence.split() and "\n" in below.get_text()
    box = below.get_window_extent()
    assert 0 <= box.x0 and box.x1 <= drawn.bbox.width
    assert not figures.convergence(*given).get_supxlabel()


def test_files_are_the_same_whenever_the_numbers_are(tmp_path):
    contents = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        png, svg = figures.save(figures.ranks({"dhc": frame("ranks", [(1, 1.0), (2, 2.5)])}), folder, "ranks")
        assert png.read_bytes().startswith(b"\x89PNG") and b"effective rank of a token" in svg.read_bytes()
        contents.append(svg.read_bytes())
    assert contents[0] == contents[1] and b"<dc:date>" not in contents[0]


def test_nothing_is_drawn_before_it_is_asked_for_and_no_display_is_needed():
    room = Path(hcexp.analysis.__file__).parent
    for path in room.rglob("*.py"):
        tree = ast.parse(path.read_text())
        modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any("pyplot" in module for module in modules), path
        if "figures" not in path.parts and path.stem not in ("checkpoint", "together"):  # these draw
            assert not any(module.startswith(("matplotlib", "hcexp.analysis.figures")) for module in modules), path
