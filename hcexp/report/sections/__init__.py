"""The tables of a report, a kind a file: results in, a table out, laid out once for every format."""
