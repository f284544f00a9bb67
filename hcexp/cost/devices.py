"""GPUs, as their makers' data sheets have them."""

import re
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class Device:
    """Memory in bytes, bfloat16 operations a second without sparsity, and bytes a second to and from its memory.

    `bandwidth` is None where nobody said.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float | None = None


# GB, TFLOP/s in bfloat16 (dense, accumulated in float32), TB/s. Of the data sheets' gigabytes there are 2³⁰ bytes;
# taken as 10⁹, they leave 7 % to the driver's context, the kernels' workspaces and fragmentation.
DATA_SHEETS = {
    "a100-40": (40, 312, 1.555),  # NVIDIA A100 Tensor Core GPU data sheet, SXM4
    "a100-80": (80, 312, 2.039),  # the same
    "h100": (80, 989, 3.35),  # NVIDIA H100 Tensor Core GPU data sheet, SXM5; half of the 1,979 with sparsity
    "h200": (141, 989, 4.8),  # NVIDIA H200 Tensor Core GPU data sheet, SXM; half of the 1,979 with sparsity
    "b200": (180, 2250, 8.0),  # NVIDIA DGX B200 data sheet, an eighth of it; half of the 4,500 with sparsity
    "rtx4090": (24, 165.2, 1.008),  # NVIDIA Ada GPU architecture white paper
}
# What CUDA's name has of a form with another peak.
OTHERS = {"pcie", "nvl", "laptop", "d"}
OWN = re.compile(r"([\d.]+)GB,([\d.]+)TFLOP/s(?:,([\d.]+)TB/s)?", re.IGNORECASE)


def device(text: str) -> Device:
    """The GPU of a name in `DATA_SHEETS`, or one that is told: `96GB,400TFLOP/s`, with its bandwidth `…,3.2TB/s`.

    Raises ValueError, with the nearest name.
    """
    name = text.lower()
    if name in DATA_SHEETS:
        return _device(name, *DATA_SHEETS[name])
    try:
        memory, flops, bandwidth = (None if part is None else float(part) for part in OWN.fullmatch(text).groups())
        if min(memory, flops, 1 if bandwidth is None else bandwidth) > 0:
            return _device(text, memory, flops, bandwidth)
    except (AttributeError, ValueError):
        pass
    near = get_close_matches(name, DATA_SHEETS, n=1, cutoff=0.4)
    guess = f", did you mean {near[0]}" if near else ""
    raise ValueError(
        f"--gpu {text} is not known{guess}; choose from {', '.join(DATA_SHEETS)}, or say it as 96GB,400TFLOP/s,3.2TB/s"
    )


def of_hardware(name: str) -> Device | None:
    """The GPU that CUDA calls `name`; None if it is not among those here, or a slower form or a part of one."""
    words = re.split(r"[^a-z0-9]+", name.lower().replace("rtx ", "rtx"))
    known = [known for known in DATA_SHEETS if known.partition("-")[0] in words]
    # An A100 does as much in either form.
    if "mig" in words or (OTHERS.intersection(words) and "a100" not in words):
        return None
    sized = [known for known in known if known.rpartition("-")[2] + "gb" in words]
    found = sized or known
    return device(found[0]) if len(found) == 1 else None


def _device(name: str, memory: float, flops: float, bandwidth: float | None) -> Device:
    return Device(name, memory * 1e9, flops * 1e12, None if bandwidth is None else bandwidth * 1e12)
