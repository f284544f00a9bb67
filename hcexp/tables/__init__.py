"""How what was measured is written for people: numbers, rates, durations."""
