"""Memory: of the activations by the paper's formula, and of a training step as measured."""

from collections.abc import Callable

import torch
from torch.autograd.profiler import profile


def activation_bytes(
    *, d: int, layers: int, heads: int, sequence_length: int, batch: int, expansion_rate: int | None = None
) -> int:
    """Bytes of the activations that a training step keeps for its backward pass (Hyper-Connections, Appendix B).

    `s b d L (34 + 5 a s / d)` for a plain transformer (Korthikanti et al., 2022), and `2 n s b d L` more for the
    streams of a mode with expansion rate n. It takes activations for 16 bits, stores the attention scores and
    recomputes nothing; where a segment is recomputed, its streams take n s b d. It knows neither weights nor
    gradients nor the optimizer, nor what a mode keeps beside its streams.
    """
    plain = sequence_length * batch * layers * (34 * d + 5 * heads * sequence_length)
    return plain + 2 * (expansion_rate or 0) * sequence_length * batch * d * layers


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """The most that a step allocates at a time in tensors on a device, beyond what is there before.

    On CUDA by the allocator's own statistics, on the CPU by the profiler's record of every allocation; what
    libraries allocate past torch is in neither.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(profile_memory=True) as recorded:
        step()
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak
