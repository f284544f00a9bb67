"""What a run takes on a cluster: memory of each device, and time."""

from dataclasses import dataclass

from hcexp.cost.allocated import Allocated
from hcexp.cost.devices import Device
from hcexp.cost.resident import Resident

DAY = 86_400  # seconds


@dataclass(frozen=True)
class Cluster:
    """`count` devices that do `utilisation` of what they could: an assumption, from 0 to 1.

    Raises ValueError for a share that is none.
    """

    device: Device
    count: int
    utilisation: float

    def __post_init__(self) -> None:
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"--utilisation {self.utilisation:g} is a share of the peak: more than 0, at most 1")

    def seconds(self, flops: float) -> float:
        """For so many operations in all; communication and data are within the utilisation."""
        return flops / (self.count * self.device.flops * self.utilisation)

    def fits(self, resident: Resident, allocated: Allocated, micro_batch: int) -> bool:
        return resident.total + allocated.bytes(micro_batch) <= self.device.memory

    def largest(self, resident: Resident, allocated: Allocated, sequences: int) -> int | None:
        """The largest micro-batch that fits and divides a device's `sequences` a step; None if not even one does."""
        sizes = (size for size in range(1, sequences + 1) if sequences % size == 0)
        return max((size for size in sizes if self.fits(resident, allocated, size)), default=None)

    def traffic_share(self, bytes_a_token: float, flops_a_token: float) -> float | None:
        """Time to move these bytes over the time of a token's operations; None if the bandwidth is not known."""
        if self.device.bandwidth is None:
            return None
        return (bytes_a_token / self.device.bandwidth) / (flops_a_token / (self.device.flops * self.utilisation))
