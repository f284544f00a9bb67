"""Tables 15 to 19: what each validation set and each downstream task gave, for the 1B models."""

from hcexp.paper.tables import PaperTable, table

NUMBERS = {
    ("downstream", "accuracy"): 15,
    ("v2", "loss"): 16,
    ("v2", "perplexity"): 17,
    ("v3", "loss"): 18,
    ("v3", "perplexity"): 19,
}

# As Table 13, and with it OLMo, spells the set; Tables 16 and 17 spell it otherwise.
NAMES = {"twitterAAE": "twitterAEE", "avg": "mean"}


def breakdown(benchmark: str, measure: str) -> PaperTable | None:
    """The table of a measure over the sets of v2 or v3, or the tasks of downstream; None if the paper has none.

    Its errata are put right; its columns are the sets or tasks as Table 13 spells them, then `mean`. Accuracies are in
    percent, and their mean is over the seven tasks that the table prints: those of Table 13 but the volatile ones.
    """
    number = NUMBERS.get((benchmark, measure))
    if number is None:
        return None
    found = table(number, corrected=True)
    rows = tuple({NAMES.get(name, name): value for name, value in row.items()} for row in found.rows)
    columns = tuple(NAMES.get(name, name) for name in found.columns if name != "model")
    return PaperTable(number, found.title, columns, rows)
