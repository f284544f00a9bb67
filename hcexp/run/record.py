"""What made a run: code, versions, hardware. No host, no user, no path."""

import hashlib
import os
import platform
import re
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hcexp

PACKAGE = Path(hcexp.__file__).parent
# Rooms that no training process has need of: another word in a report is no other run.
UNREACHED = ("analysis", "cli", "cost", "paper", "report", "study", "tables")
DISTRIBUTIONS = ("torch", "lightning", "mlflow", "datasets", "tokenizers", "hydra-core")


def record() -> dict[str, Any]:
    """`git`, `versions`, `hardware` and `code`: what a reader of a result must know about its making."""
    return {"git": git(PACKAGE), "versions": versions(), "hardware": hardware(), "code": code(PACKAGE)}


def git(folder: Path) -> dict[str, Any]:
    """`commit`, `branch` (None if detached), `dirty` of the checkout that tracks `folder`; else {}."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    # An installed package may lie in somebody else's checkout, which says nothing about it.
    if not commit or not _git(folder, "ls-files", "--", "."):
        return {}
    branch = _git(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {"commit": commit, "branch": branch or None, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10).strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def versions() -> dict[str, str]:
    """Of Python and the libraries that shape a result; what is not installed is left out."""
    found = {"python": platform.python_version(), "hcexp": hcexp.__version__}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def hardware() -> dict[str, Any]:
    """`cpu` (model), `cores` (logical), `memory` (bytes), `gpus` (names), `gpu_count`, `cuda` (version)."""
    import psutil
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "gpus": gpus,
        "gpu_count": len(gpus),
        "cuda": torch.version.cuda,
    }


def _cpu() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:(.*\S)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def code(folder: Path) -> str:
    """SHA-256 over every `*.py` below `folder` that training can reach, with its name: the same on every machine.

    The report marks rows made by different code by it. Line ends count as `\\n`, whatever a checkout makes of them.
    """
    digest = hashlib.sha256()
    reached = [path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in UNREACHED]
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in reached):
        content = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()
