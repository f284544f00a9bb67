import io

from rich.console import Console

from hcexp.tables.table import Cell, Column, Table, lay_out
from hcexp.tables.terminal import show

RECORDS = [("[red]base[/red]", 1.5, None), ("DHC×4", 12345.0, 2.0)]
ENTRIES = [
    (Column("row", side="left"), lambda record: record[0]),
    (Column("tokens per second"), lambda record: f"{record[1]:,.1f}"),
    (Column("what nobody needs here", extra=True), lambda record: record[2] and f"{record[2]:.3f}"),
]
TABLE = lay_out("speed [of] all", RECORDS, ENTRIES, notes=("a note",), strong=0)


def shown(width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(TABLE, console)
    return console.file.getvalue()


def test_a_table_is_laid_out_and_what_is_not_known_is_a_dash():
    assert TABLE.rows == (("[red]base[/red]", "1.5", "–"), ("DHC×4", "12,345.0", "2.000"))
    assert [column.header for column in TABLE.only(lambda column: not column.extra).columns] == [
        "row",
        "tokens per second",
    ]
    assert Cell("2.0", interval=3).interval == 3 and Cell("2.0") == "2.0" and Cell("2.0").interval is None
    assert Table("", (), ()).notes == ()


def test_a_terminal_shows_what_it_has_room_for_and_texts_as_they_are():
    wide, narrow, tiny = shown(120), shown(34), shown(10)
    assert all("[red]base[/red]" in text and "speed [of] all" in text and "a note" in text for text in (wide, narrow))
    assert "nobody" in wide and "nobody" not in narrow
    assert max(map(len, narrow.splitlines())) <= 34
    assert not any("…" in text for text in (wide, narrow, tiny)), "a header wraps between its words"
    assert "12,345.0" in tiny and "[red]base[/red]" in tiny, "no number and no label is cut"
