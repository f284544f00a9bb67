import math
from statistics import fmean

import pytest

from hcexp.paper import LOSSES, errata, listing, printed, table


def test_every_row_has_a_label_of_its_own_and_all_columns():
    for number in set(range(1, 20)) - {12, 13, 14}:  # those have no rows
        found = table(number)
        assert found.number == number and found.title
        assert len(set(found.labels)) == len(found.rows) > 0
        assert all(set(row) == {"label", *found.columns} for row in found.rows)


def test_table_3_is_labelled_as_tables_15_to_19_spell_it():
    assert set(table(3).labels) <= set(table(15).labels)
    # The losses are the same runs': Table 16 averages what Table 3 prints. A swapped label would show.
    for row in table(3).rows:
        assert row["v2_loss"] == table(16).row(row["label"])["avg"]
        assert row["v3_loss"] == table(18, corrected=True).row(row["label"])["avg"]
        assert row["downstream_accuracy"] == table(15).row(row["label"])["avg"]


@pytest.mark.parametrize(("losses", "perplexities"), [(16, 17), (18, 19)])
def test_corrected_perplexities_are_the_exponentials_of_the_losses(losses, perplexities):
    # Table 18 wears the same wrong labels as 19; both corrected agree as both printed do, so take 16 as the
    # independent witness for 17, and 18 corrected for 19.
    by_label = {row["label"]: row for row in table(losses, corrected=losses == 18).rows}
    for row in table(perplexities, corrected=True).rows:
        for name in table(perplexities).columns[1:-1]:
            # Three printed decimals of a loss bound it; E5's three cells of DHC×4 are the paper's own error.
            if (row["label"], name) in {("DHC×4", "c4_en"), ("DHC×4", "m2d2_wiki"), ("DHC×4", "ptb")}:
                continue
            assert math.log(row[name]) == pytest.approx(by_label[row["label"]][name], abs=1.6e-3)


def test_printed_table_17_contradicts_table_16_under_its_own_labels_and_averages_perplexities():
    row = table(17).row("DHC×2 W/O tanh")
    assert abs(math.log(row["c4_en"]) - table(16).row("DHC×2 W/O tanh")["c4_en"]) > 0.01
    for row in table(17).rows:
        values = [row[name] for name in table(17).columns[1:-1]]
        assert row["avg"] == pytest.approx(fmean(values), abs=1e-3)


def test_a_table_shows_the_printed_value_and_corrects_on_request():
    assert table(1).row("DHC×2 W/O tanh")["v3_loss"] == 2.537
    assert table(1, corrected=True).row("DHC×2 W/O tanh")["v3_loss"] == 2.529
    assert table(1).row("DHC×2 W/O tanh")["v3_loss"] == 2.537, "correcting must not change what is stored"
    # Table 2 prints it rightly, and E2 is filed under Table 1.
    assert table(2, corrected=True).rows == table(2).rows
    averages = table(18, corrected=True)
    for row in table(1, corrected=True).rows:
        assert row["v3_loss"] == averages.row(row["label"])["avg"]


def test_the_baseline_of_table_3_is_the_one_of_table_1():
    found = printed(3, "OLMo-1B")
    assert found.table == 1 and found.row == table(1).row("OLMo-1B")
    assert set(LOSSES) <= set(found.row)
    assert printed(3, "DHC×4").table == 3
    assert printed(3, "SHC×2") is None


def test_what_is_not_there_is_named():
    for asked, message in (
        (lambda: table(20), "Tables 1 to 19"),
        (lambda: table(True), "True"),
        (lambda: table(13), r"listing\(13\)"),
        (lambda: listing(1), r"table\(1\)"),
        (lambda: errata(0), "Tables 1 to 19"),
        (lambda: table(1).row("DHC×3"), "'DHC×3'; its rows are OLMo-1B, "),
    ):
        with pytest.raises(ValueError, match=message):
            asked()


def test_listings():
    assert listing(12)["optimizer"] == "AdamW" and "mmlu" in listing(14)
    assert (len(listing(13)["v2"]), len(listing(13)["v3"])) == (13, 11)
