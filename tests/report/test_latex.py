import re

from hcexp.report import build, latex
from hcexp.report.latex import escape

EVIL = '50% & $x_1$ #1 {a} ~^ \\input{/etc/passwd} \\end{table} <b>|"q"` × ± − Δ α'


def tables(text):
    return re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, flags=re.S)


def lines(table):
    """The lines of the tabular's body, as their cells."""
    body = table[table.index("\\midrule") : table.index("\\bottomrule")]
    return [
        re.split(r"(?<!\\)&", line.strip().removesuffix(r"\\")) for line in body.splitlines() if line.endswith(r"\\")
    ]


def balanced(text):
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    return depth == 0


def test_paper_and_measured_stand_side_by_side_with_intervals(whole_report):
    first = tables(latex(whole_report))[0]
    for rule in ("toprule", "midrule", "bottomrule", "cmidrule(lr){2-3}"):
        assert f"\\{rule}" in first
    assert "\\multicolumn{2}{c}{Paper, Table 1}" in first and "Measured, corpus" in first
    body = lines(first)
    assert [line[0].strip() for line in body][::2] == [
        "OLMo-1B",
        "DHC$\\times$2 W/O tanh \\textdagger{}",
        "DHC$\\times$4",
    ]
    assert body[0][1].strip() == "2.811" and re.search(r"3\.\d+ \$\\pm\$ 0\.\d+", body[0][3])
    assert re.search(r"\$-\$0\.\d+ \$\\pm\$ 0\.\d+", body[4][4])


def test_every_line_has_as_many_cells_as_the_tabular_has_columns(whole_report):
    found = tables(latex(whole_report))
    assert len(found) == 2
    for table in found:
        sides = re.search(r"\\begin\{tabular\}\{@\{\}([lrc]+)@\{\}\}", table)[1]
        assert {len(line) for line in lines(table)} == {len(sides)}
        header = table[table.index("\\toprule") : table.index("\\midrule")]
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", header)]
        assert 1 + sum(spans) == len(sides)
        names = re.sub(r"\\shortstack\[.\]\{[^}]*\}", "name", header.splitlines()[-2])
        assert len(re.split(r"(?<!\\)&", names)) == len(sides)


def test_the_caption_has_the_noise_floor_and_comments_the_commands(whole_report):
    text = latex(whole_report)
    captions = re.findall(r"\\caption\{(.*)\}$", text, flags=re.M)
    assert len(captions) == 2 and all("The noise floor of a difference of two runs is" in each for each in captions)
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert comments[1] == "%   make sweep SWEEP=asked SCALE=tiny SEEDS=3"
    assert "%   hcexp train label=DHC×4 seed=2" in comments and "booktabs" in comments[0]


def test_the_question_is_the_first_comment(sweep):
    text = latex(build(sweep(question="Is it\n\\end{document} better?"), [], "tiny"))
    assert text.startswith("% Is it \\end{document} better?\n% Needs ")
    assert latex(build(sweep(), [], "tiny")).startswith("% Needs ")


def test_one_seed_says_in_the_caption_that_there_is_no_interval(sweep, losses):
    text = latex(build(sweep(seeds=(0,)), losses({"OLMo-1B": [4.0], "DHC×2": [3.9]}), "tiny"))
    assert "One seed: no interval can be given" in re.search(r"\\caption\{(.*)\}$", text, flags=re.M)[1]


def test_every_special_character_is_escaped():
    made = escape(EVIL)
    assert made.startswith(
        r"50\% \& \$x\_1\$ \#1 \{a\} \textasciitilde{}\textasciicircum{} \textbackslash{}input\{/etc"
    )
    assert "\n" not in made and made.endswith(r"$\times$ $\pm$ $-$ $\Delta$ $\alpha$") and balanced(made)
    assert escape("a\x00b\x1bc") == "abc"
    assert escape("x --n ---") == "x -{}-n -{}-{}-", "two hyphens would be a dash"
    assert escape("[2]") == "{[}2]", "after the end of a line it would be the option of that"
    for character in "&%$#_{}~^\\":
        assert escape(character) != character


def test_hostile_labels_errors_and_commands_change_no_structure(sweep, losses, finished):
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
