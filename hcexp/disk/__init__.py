"""How a file reaches the disk whole, and is known again: atomic writes, checksums."""
