"""The paper beside the measured: one sweep's outcomes as a report, in Markdown, LaTeX, CSV, HTML and the terminal.

`build` does the statistics and lays out the tables; `render` and `export` only write down what it found.
"""
