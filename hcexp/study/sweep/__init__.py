"""What a sweep's file says: its rows, its grid, its seeds, its question."""
