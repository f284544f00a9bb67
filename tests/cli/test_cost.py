def test_the_papers_count_of_dhc(hcexp):
    status, out, err = hcexp("cost", "model=1b", "residual=dhc", "residual.n=4")
    assert (status, err) == (0, "")
    assert "1,176,764,416" in out and "1,177,158,464" in out
    assert "+394,048" in out and "+0.03349" in out
    assert "dhc n=4" in out and "model=1b" in out


def test_what_is_frozen_is_shown(hcexp):
    _, out, _ = hcexp("cost", "model=7b", "residual=shc", "residual.n=2", "residual.train_b=false")
    assert f"+{64 * 8:,}" in out
    (row,) = [line.split() for line in out.splitlines() if "shc" in line]
    assert f"{64 * 2:,}" in row


def test_pre_norm_alone_is_compared_with_nothing(hcexp):
    status, out, _ = hcexp("cost", "model=20m")
    assert status == 0 and out.count("pre_norm") == 2 and "+" not in out  # in the heading and as a row
