"""How numbers are written: fixed decimals, a true minus sign, units, – for what was not measured."""

import math

NOTHING = "–"
MINUS = "−"


def fixed(value: float, decimals: int, signed: bool = False) -> str:
    """`2.811`, or with `signed` `+0.011`, `−0.011`; what rounds to zero has no sign."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    # Rounding first, so that -0.0004 does not become -0.000.
    text = f"{round(value, decimals) + 0.0:{'+' if signed else ''},.{decimals}f}"
    if signed and float(text.replace(",", "")) == 0:
        text = text.lstrip("+")
    return text.replace("-", MINUS)


def count(number: int, thing: str) -> str:
    """`1 GPU`, `2 GPUs`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def more(value: float, baseline: float, decimals: int) -> str:
    """By how many percent a value is more than the baseline's, signed."""
    return fixed(100 * (value - baseline) / baseline, decimals, signed=True)


def unit(number: float) -> tuple[str, float]:
    """What to write before FLOPs or bytes of such a size, and its worth: G, or M for what is below 0.1 G."""
    return ("G", 1e9) if number >= 1e8 else ("M", 1e6)


def short(number: float) -> str:
    """Three digits and a unit: 987, 12.3k, 4.56M; `-` for what is not known."""
    if not math.isfinite(number):
        return "-"
    units = ["", "k", "M", "G"]
    while number >= 999.5 and len(units) > 1:
        number, units = number / 1000, units[1:]
    whole = units[0] == "" or number >= 99.95
    return f"{number:.0f}{units[0]}" if whole else f"{number:.3g}{units[0]}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as in 0:00:31 or 26:03:04; `-` for what is not known."""
    if not math.isfinite(seconds):
        return "-"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
