import pytest

from hcexp.cost.devices import DATA_SHEETS, device, of_hardware


def test_every_data_sheet_is_a_device():
    for name in DATA_SHEETS:
        found = device(name.upper())
        assert found.name == name and 20e9 < found.memory < 200e9
        # A GPU does some 100 to 400 operations in the time of a byte.
        assert 100 < found.flops / found.bandwidth < 400, name


def test_one_that_is_told():
    found = device("96GB,400TFLOP/s,3.2TB/s")
    assert (found.memory, found.flops, found.bandwidth) == (96e9, 400e12, 3.2e12)
    assert device("24gb,165.2tflop/s").bandwidth is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("h20", "--gpu h20 is not known, did you mean h200; choose from a100-40, "),
        ("tpu", "--gpu tpu is not known; choose from a100-40, "),
        ("80GB", "--gpu 80GB is not known"),
        ("0GB,400TFLOP/s", "--gpu 0GB,400TFLOP/s is not known"),
        ("1.2.3GB,400TFLOP/s", "--gpu 1.2.3GB,400TFLOP/s is not known"),
        ("80GB,400TFLOP/s,0TB/s", "--gpu 80GB,400TFLOP/s,0TB/s is not known"),
    ],
)
def test_what_is_no_gpu_is_refused_with_the_nearest(text, line):
    with pytest.raises(ValueError) as refused:
        device(text)
    assert str(refused.value).startswith(line)


KNOWN = {
    "NVIDIA H200": "h200",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA A100-SXM4-40GB": "a100-40",
    "NVIDIA A100-SXM4-80GB": "a100-80",
    "NVIDIA A100-PCIE-40GB": "a100-40",
    "NVIDIA B200": "b200",
    "NVIDIA GeForce RTX 4090": "rtx4090",
}
# Other hardware, one of two sizes, and forms with another peak.
UNKNOWN = (
    *("NVIDIA L40S", "2 CPU threads", "NVIDIA A100", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GH200 480GB"),
    *("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"),
)


def test_the_gpu_of_this_machine_is_known_by_cudas_name_and_taken_for_no_other():
    assert {name: of_hardware(name).name for name in KNOWN} == KNOWN
    assert [name for name in UNKNOWN if of_hardware(name) is not None] == []
