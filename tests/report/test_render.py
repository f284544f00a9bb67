"""The report as Markdown and LaTeX, and its folder."""

import re

import pytest

from hcexp.report.export import csv, runs_csv
from hcexp.report.render import escape_latex, escape_markdown, html, latex, markdown, write
from hcexp.report.report import build

EVIL = '50% & $x_1$ #1 {a} ~^ \\input{/etc/passwd} \\end{table} <b>|"q"` × ± − Δ α'


def markdown_tables(text):
    return re.findall(r"(?:^\|.*\n)+", text, flags=re.M)


def tables(text):
    return re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, flags=re.S)


def lines(table):
    """The lines of the tabular's body, as their cells."""
    body = table[table.index("\\midrule") : table.index("\\bottomrule")]
    rows = [re.sub(r"\\\\( \\addlinespace)?$", "", line) for line in body.splitlines() if "\\\\" in line]
    return [re.split(r"(?<!\\)&", row) for row in rows]


def balanced(text):
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_everything_that_was_asked_is_in_the_markdown(whole_report):
    text = markdown(whole_report)
    assert text.startswith("# Ablation on the expansion rate n\n\nsweep asked · ")
    assert "| **OLMo-1B** | 3.5" in text and "- DHC×1, seed 2: failed: loss is nan" in text
    assert "E1 (Table 1, DHC×2 W/O tanh" in text and "- **hardware**: a processor, 2 cores" in text
    assert "```sh\nmake sweep SWEEP=asked SCALE=tiny SEEDS=3\n```" in text
    assert "<details>\n<summary>Each run</summary>" in text and "hcexp train label=DHC×2 seed=1" in text
    assert "<summary>corpus loss of each set</summary>\n\n| row | drama |" in text
    assert "## At equal budgets: corpus loss" in text and "steps=" in text
    found = markdown_tables(text)
    assert len(found) == 6  # paper beside measured, budgets, comparisons, loss and perplexity of the sets, cost
    for table in found:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_question_comes_first_in_every_format(sweep):
    asked, plain = build(sweep(question="Is *it*\n\\end{x} better?"), [], "tiny"), build(sweep(), [], "tiny")
    assert markdown(asked).startswith("# A question\n\nIs \\*it\\* \\\\end{x} better?\n\nsweep asked · ")
    assert markdown(plain).startswith("# A question\n\nsweep asked · ")
    assert latex(asked).startswith("% Is *it* \\end{x} better?\n% Needs ") and latex(plain).startswith("% Needs ")


@pytest.mark.parametrize("text", ["a|b", "<script>x</script>", "*a* _b_ `c` [d](e)", "one\ntwo", "back\\slash"])
def test_a_text_is_no_markdown(text):
    made = escape_markdown(text)
    assert "<" not in made and "\n" not in made
    assert not re.search(r"(?<!\\)[*_`|\[\]]", made)


def test_no_label_title_or_command_breaks_the_markdown(sweep, losses):
    labels = ("base", "a | b </td><script>")
    made = build(
        sweep(labels=labels, seeds=(0,), title="<script>"), losses({x: [4.0] for x in labels}), "tiny", "```; rm"
    )
    text = markdown(made)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown_tables(text)[0].splitlines()}) == 1
    assert "<script>" not in text.partition("## To repeat it")[0] and "````sh\n```; rm\n````" in text


def test_paper_and_measured_stand_side_by_side_with_intervals(whole_report):
    first = tables(latex(whole_report))[0]
    for rule in ("toprule", "midrule", "bottomrule", "cmidrule(lr){2-6}"):
        assert f"\\{rule}" in first
    assert "\\multicolumn{2}{c}{Paper, Table 1}" in first and "{c}{Measured, corpus suite}" in first
    body = lines(first)
    assert [line[0].strip() for line in body][::2] == [
        "OLMo-1B",
        "DHC$\\times$2 W/O tanh \\textdagger{}",
        "DHC$\\times$4",
    ]
    assert body[0][6].strip() == "2.811" and re.search(r"3\.\d+ \$\\pm\$ 0\.\d+", body[0][1])
    assert re.search(r"\$-\$0\.\d+ \$\\pm\$ 0\.\d+", body[4][2])


def test_every_line_has_as_many_cells_as_the_tabular_has_columns(whole_report):
    found = tables(latex(whole_report))
    assert len(found) == 2
    for table in found:
        sides = re.search(r"\\begin\{tabular\}\{@\{\}([lrc]+)@\{\}\}", table)[1]
        assert {len(line) for line in lines(table)} == {len(sides)}
        header = table[table.index("\\toprule") : table.index("\\midrule")]
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", header)]
        assert 1 + sum(spans) == len(sides)
        names = re.sub(r"\\shortstack\[.\]\{[^}]*\}", "name", header.strip().splitlines()[-1])
        assert len(re.split(r"(?<!\\)&", names)) == len(sides)


def test_the_caption_has_the_noise_floor_and_comments_the_commands(whole_report, sweep, losses):
    text = latex(whole_report)
    captions = re.findall(r"\\caption\{(.*)\}$", text, flags=re.M)
    assert len(captions) == 2 and all("The noise floor of a difference of two runs is" in each for each in captions)
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert comments[1] == "%   make sweep SWEEP=asked SCALE=tiny SEEDS=3"
    assert "%   hcexp train label=DHC×4 seed=2" in comments and "booktabs" in comments[0]
    text = latex(build(sweep(seeds=(0,)), losses({"OLMo-1B": [4.0], "DHC×2": [3.9]}), "tiny"))
    assert "One seed: no interval can be given" in re.search(r"\\caption\{(.*)\}$", text, flags=re.M)[1]


def test_every_special_character_is_escaped():
    made = escape_latex(EVIL)
    assert made.startswith(
        r"50\% \& \$x\_1\$ \#1 \{a\} \textasciitilde{}\textasciicircum{} \textbackslash{}input\{/etc"
    )
    assert "\n" not in made and made.endswith(r"$\times$ $\pm$ $-$ $\Delta$ $\alpha$") and balanced(made)
    assert escape_latex("a\x00b\x1bc") == "abc"
    assert escape_latex("x --n ---") == "x -{}-n -{}-{}-", "two hyphens would be a dash"
    assert escape_latex("[2]") == "{[}2]", "after the end of a line it would be the option of that"
    for character in "&%$#_{}~^\\":
        assert escape_latex(character) != character


def test_hostile_labels_errors_and_commands_change_no_structure(sweep, losses):
    labels = ("base", EVIL)
    report = build(
        sweep(labels=labels, seeds=(0, 1), title=EVIL),
        losses({label: [4.0, 4.1] for label in labels}),
        "tiny",
        command=f"hcexp sweep {EVIL}\n\\input{{x}}",
    )
    text = latex(report)
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert balanced(code) and code.count("\\begin{table}") == code.count("\\end{table}") == 1
    assert "\\input" not in code and not re.search(r"(?<!\\)[%#]", code)
    (table,) = tables(text)
    assert len({len(line) for line in lines(table)}) == 1 and len(lines(table)) == 2


def test_nothing_measured_is_a_table_still(sweep):
    text = latex(build(sweep(), [], "tiny"))
    assert len(lines(tables(text)[0])) == 4 and balanced(text)
    assert balanced(latex(build(sweep(table=None), [], "tiny")))


def test_the_folder_has_every_format_and_nothing_of_an_earlier_report(sweep, losses, tmp_path):
    report = build(sweep(), losses({"OLMo-1B": [4.0], "DHC×4": [3.9]}), "tiny")
    folder = tmp_path / "new" / "place"
    for _ in range(2):
        paths = write(report, folder)
        assert sorted(folder.iterdir()) == sorted(paths)
    made = {
        "report.md": markdown(report),
        "report.csv": csv(report),
        "report.html": html(report),
        "report.tex": latex(report),
        "report-runs.csv": runs_csv(report),
    }
    assert {path.name: path.read_text(encoding="utf-8") for path in paths} == made
    write(build(sweep(), [], "tiny"), folder)
    assert not (folder / "report-runs.csv").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write(report, tmp_path / "file")
