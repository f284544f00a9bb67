import pytest

from hcexp.cost.allocated import Allocated
from hcexp.cost.cluster import Cluster
from hcexp.cost.devices import device
from hcexp.cost.resident import Resident

H200 = device("h200")
HELD = Resident(weights=10e9, gradients=10e9, moments=20e9)
STEP = Allocated(fixed=1e9, kept=7e9, logits=3e9)  # 41 GB, and 10 for each sequence: 10 fit


def test_time_is_operations_over_what_the_devices_do():
    # 7.8659 GFLOPs a token, 500 billion tokens, 8 × 989 TFLOP/s × 0.4: 3.933e21 / 3.165e15 s.
    assert Cluster(H200, 8, 0.4).seconds(7.8659e9 * 500e9) == pytest.approx(1.2427e6, rel=1e-4)


def test_the_largest_micro_batch_fits_and_divides():
    cluster = Cluster(H200, 8, 0.4)
    assert cluster.fits(HELD, STEP, 10) and not cluster.fits(HELD, STEP, 11)
    assert [cluster.largest(HELD, STEP, sequences) for sequences in (256, 100, 7, 13)] == [8, 10, 7, 1]
    assert cluster.largest(Resident(141e9, 0, 0), STEP, 256) is None


def test_traffic_is_beside_the_operations():
    # 4.8 MB take a microsecond; 395.6 MFLOPs as well, at 40 % of 989 TFLOP/s.
    assert Cluster(H200, 8, 0.4).traffic_share(4.8e6, 395.6e6) == pytest.approx(1)
    assert Cluster(device("80GB,300TFLOP/s"), 8, 0.4).traffic_share(4.8e6, 395.6e6) is None


@pytest.mark.parametrize("utilisation", [0, -0.1, 1.01])
def test_a_utilisation_that_is_no_share_is_refused(utilisation):
    with pytest.raises(ValueError, match="^--utilisation .* more than 0, at most 1"):
        Cluster(H200, 8, utilisation)
