"""What a residual mode costs: parameters, operations, memory, time on a cluster, measured steps; and its tables."""
