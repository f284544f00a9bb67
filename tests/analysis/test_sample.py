import pytest
import torch

from hcexp.analysis.sample import Sample


def rows(count, start=0):
    return torch.arange(start, start + count, dtype=torch.float64).unsqueeze(-1).expand(-1, 2)


def test_every_row_is_kept_up_to_the_limit():
    sample = Sample(limit=10)
    sample.add(rows(7))
    sample.add(rows(3, start=7))
    assert torch.equal(sample.rows, rows(10)) and sample.stride == 1


@pytest.mark.parametrize("parts", [[1] * 100, [100], [7] * 14 + [2], [64, 36]])
def test_beyond_it_every_second_fourth_or_eighth_however_they_come(parts):
    sample, given = Sample(limit=16), 0
    for count in parts:
        sample.add(rows(count, start=given))
        given += count
        assert len(sample.rows) <= 16
    assert torch.equal(sample.rows, rows(100)[::8])
