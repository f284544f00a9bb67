import pytest
import yaml

from hcexp.configuration import shipped
from hcexp.study.point import plan
from hcexp.study.search.result import RowResult, TrialRecord
from hcexp.study.search.space import Space
from hcexp.study.sweep.sweep import Row, Sweep
from hcexp.study.sweep.sweep_file import load_sweep
from hcexp.study.sweep.tuning import tuned, tuned_text

SPACE = Space({"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "schedule": {"choices": ["cosine"]}}, trials=3)
SEARCH = Sweep("tune", "A question", None, "a", (Row("a"),), overrides=("steps=9",), search=SPACE)


def found(label, *overrides, best=0.002):
    trials = ((0.003, "finished", 2.0), (best, "finished", 1.0), (0.009, "pruned", 0.5))
    values = [{"optimizer.lr": lr, "schedule": "cosine"} for lr, _, _ in trials]
    records = [TrialRecord(of, *rest, None, None, "0123") for of, (_, *rest) in zip(values, trials, strict=True)]
    return RowResult(label, overrides, tuple(records))


@pytest.fixture
def file(tmp_path):
    """Writes tuned values of {label: (best learning rate, overrides)} and whatever is changed then."""

    def write(rows, /, **changed):
        rows = [found(label, *own, best=lr) for label, (lr, own) in rows.items()]
        content = yaml.safe_load(tuned_text(SEARCH, "tiny", "hcexp sweep tune", rows))
        for row in content["rows"]:
            row["overrides"].remove("steps=9")
            row.update((key, changed.pop(key)) for key in list(changed) if key in row)
        path = tmp_path / "tuned.yaml"
        path.write_text(yaml.safe_dump(content | changed, allow_unicode=True))
        return path

    return write


def asked(*rows, overrides=()):
    named = tuple(Row(f"row {number}", tuple(own)) for number, own in enumerate(rows, start=1))
    return Sweep("mine", "A question", None, "row 1", named, overrides=tuple(overrides))


def learning_rates(sweep):
    return [values["optimizer.lr"] for values in sweep.tuning.rows.values()]


PRE_NORM, DHC, DHC_8 = ["residual=pre_norm"], ["residual=dhc"], ["residual=dhc", "residual.n=8"]


def test_the_file_has_what_was_found_and_is_data():
    text = tuned_text(SEARCH, "tiny", "hcexp sweep tune", [found("DHC×2", "residual=dhc"), RowResult("b", (), ())])
    assert text.startswith("# ") and "--tuned tune" in text.splitlines()[0]
    content = yaml.safe_load(text)
    row = {"label": "DHC×2", "overrides": ["steps=9", "residual=dhc"], "loss": 1.0}
    row |= {"values": {"optimizer.lr": 0.002, "schedule": "cosine"}, "finished": 2, "pruned": 1, "failed": 0}
    assert content["rows"][0] == row and content["rows"][1]["values"] is None
    assert (content["sweep"], content["scale"], content["seed"], content["trials"]) == ("tune", "tiny", 0, 3)


def test_a_row_takes_the_values_of_the_row_that_says_most_of_it(file, minute):
    path = file({"plain": (0.001, PRE_NORM), "DHC": (0.002, DHC), "DHC×8": (0.003, DHC_8)})
    sweep = asked(PRE_NORM, [*DHC, "residual.n=4"], [*DHC_8, "residual.tanh=false"], DHC)
    taken = tuned(sweep, path, "tiny")
    assert learning_rates(taken) == [0.001, 0.002, 0.003, 0.002]
    assert taken.rows[1].overrides == ("optimizer.lr=0.002", "schedule=cosine", "residual=dhc", "residual.n=4")
    assert [row.label for row in taken.rows] == [row.label for row in sweep.rows]
    assert (taken.tuning.file, taken.tuning.sweep, taken.tuning.trials) == (path, "tune", 3)
    # What is common to the rows and the command line counts as theirs.
    sweep = asked(["residual.n=8"], ["residual.n=2"], overrides=DHC)
    assert learning_rates(tuned(sweep, path, "tiny")) == [0.003, 0.002]
    assert learning_rates(tuned(asked(DHC), path, "tiny", ["residual.n=8"])) == [0.003]
    # The more explicit value counts: the sweep's, the tuned one, the row's, that of the command line.
    rows = asked(PRE_NORM, [*PRE_NORM, "optimizer.lr=0.3"], overrides=["optimizer.lr=0.2"])
    for own, rates in ([], [0.001, 0.3]), (["optimizer.lr=0.4"], [0.4, 0.4]):
        planned = plan(tuned(rows, path, "tiny"), "tiny", [*minute, *own])
        assert [point.run.config.optimizer.lr for point in planned] == rates
    # The same said otherwise is the same.
    path = file({"DHC": (0.002, [*DHC, "residual.tanh=true", "residual.n=8"])})
    assert learning_rates(tuned(asked([*DHC, "+residual.n=8", "residual.tanh=True"]), path, "tiny")) == [0.002]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"scale": "60m"}, r" is of scale=60m, not tiny"),
        ({"trials": 4}, r"plain has only 3 of 4 trials; hcexp sweep tune goes on"),
        ({"trials": "x"}, r"trials 'x' is not an integer of 1 or more"),
        ({"pruned": "x"}, r"pruned 'x' is not an integer of 0 or more"),
        ({"values": None}, r"no trial of plain is finished, so that there are no values"),
        ({"values": {"residual": "../../x"}}, r"residual=\.\./\.\./x is not a choice of residual"),
        ({"values": {"x": [{"_target_": "os.system"}]}}, r"'_target_' names code, and the file holds data"),
        ({"trails": 4}, r"unknown key 'trails'\. Did you mean trials"),
        ({"rows": 3}, r"rows 3 is not a list"),
        ({"rows": [3]}, r"a row is not a mapping with the keys label"),
        ({"rows": []}, r"has no values for the row row 1; it has nothing"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(file, changed, said):
    path = file({"plain": (0.001, PRE_NORM)}, **changed)
    with pytest.raises(ValueError, match=rf"\A--tuned: {path}.*{said}.*\Z"):
        tuned(asked(PRE_NORM), path, "tiny")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "broken.yaml").write_text("rows: [")
    said = {"none.yaml": "does not exist; hcexp sweep writes it", "broken.yaml": "cannot be read: not YAML"}
    for name, line in {**said, "": "cannot be read"}.items():
        with pytest.raises(ValueError, match=rf"\A--tuned: {tmp_path / name} {line}.*\Z"):
            tuned(asked(PRE_NORM), tmp_path / name, "tiny")


def test_rows_without_values_or_with_two_sets_of_them_and_searches_are_refused(file):
    path = file({"plain": (0.001, PRE_NORM), "DHC×8": (0.002, DHC_8)})
    with pytest.raises(ValueError, match=r"has no values for the row row 2; it has plain, DHC×8$"):
        tuned(asked(PRE_NORM, [*DHC, "residual.n=4"]), path, "tiny")
    with pytest.raises(ValueError, match=r"^--tuned: tune is a search itself"):
        tuned(SEARCH, path, "tiny")
    no_tanh = [*DHC, "residual.tanh=false"]
    sweep = asked([*DHC_8, "residual.tanh=false"])
    with pytest.raises(ValueError, match="two sets of values for the row row 1: eight and no tanh"):
        tuned(sweep, file({"eight": (0.001, DHC_8), "no tanh": (0.002, no_tanh)}), "tiny")
    alike = file({"eight": (0.001, DHC_8), "no tanh": (0.001, no_tanh)})
    assert learning_rates(tuned(sweep, alike, "tiny")) == [0.001]


def test_every_row_of_a_shipped_sweep_has_its_values_from_the_tuning_sweep(file):
    rows = load_sweep("tune_lr", shipped("sweeps")).rows
    rates = {row.label: (number / 1000, row.overrides) for number, row in enumerate(rows, 1)}
    path = file(rates)
    for name in {path.stem for path in shipped("sweeps").glob("*.yaml")} - {"tune_lr"}:
        sweep = load_sweep(name, shipped("sweeps"))
        for row, rate in zip(sweep.rows, learning_rates(tuned(sweep, path, "tiny")), strict=True):
            (mode,) = {label for label, (_, own) in rates.items() if own[0] in row.overrides}
            assert rate == rates[mode][0], row.label
