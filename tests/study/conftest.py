import pytest
import yaml

from hcexp.study import load_sweep, plan


@pytest.fixture
def sweep_file(tmp_path):
    """Writes a sweep of rows {label: overrides}; the first one is the baseline."""

    def write(rows, seeds=(0,), overrides=()):
        path = tmp_path / "own.yaml"
        content = {
            "title": "A question",
            "table": None,
            "baseline": next(iter(rows)),
            "seeds": list(seeds),
            "overrides": list(overrides),
            "rows": [{"label": label, "overrides": list(own)} for label, own in rows.items()],
        }
        path.write_text(yaml.safe_dump(content, allow_unicode=True))
        return path

    return write


@pytest.fixture
def points(sweep_file, minute, tmp_path):
    """The points of a sweep of minute runs."""

    def make(rows, **knobs):
        return plan(load_sweep(sweep_file(rows, **knobs), tmp_path), "tiny", minute)

    return make
