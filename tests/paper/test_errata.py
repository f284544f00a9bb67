from hcexp.paper import errata, table


def test_an_erratum_of_one_cell_names_what_the_table_prints():
    cells = [erratum for number in (1, 2) for erratum in errata(number) if erratum.should_be is not None]
    assert cells
    for erratum in cells:
        assert table(erratum.tables[0]).row(erratum.row)[erratum.column] == erratum.printed != erratum.should_be


def test_errata_are_filed_under_every_table_they_touch():
    for number, filed in {1: ["E1", "E2"], 2: ["E2"], 17: ["E4"], 18: ["E4"], 19: ["E4"], 4: []}.items():
        assert [erratum.id for erratum in errata(number)] == filed


def test_an_erratum_reads_as_a_sentence():
    first, second = errata(1)
    assert str(first).startswith("E1 (Table 1, DHC×2 W/O tanh, v3_loss): printed 2.537, should be 2.529;")
    # Shown under Table 2 as well, it must still say whose cell it is.
    assert "Table 1, DHC×4" in str(second)
    assert "None" not in "".join(str(erratum) for number in range(1, 20) for erratum in errata(number))
