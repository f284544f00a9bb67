"""The safetensors files of a model's folder, in one or in shards, read weight by weight."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from hcexp.disk.checksum import checksum, file_checksum

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"  # which shard each weight is in
SHARDS = "model-*.safetensors"


class WeightFiles:
    """The weights in a folder, in `model.safetensors` or in shards and their index; no other file is needed.

    Attributes:
        shapes: the weights' shapes by their names.

    Raises:
        FileNotFoundError: there are none; other formats are not read.
        ValueError: a file is damaged.
    """

    def __init__(self, folder: Path):
        if (folder / SINGLE).is_file():
            self._files = [folder / SINGLE]
        elif (folder / INDEX).is_file():
            names = json.loads((folder / INDEX).read_text())["weight_map"].values()
            self._files = sorted({folder / Path(name).name for name in names})  # never outside of the folder
        else:
            raise FileNotFoundError(f"no {SINGLE} in {folder}: other formats are not read")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, Path] = {}
        for path in self._files:
            with _open(path) as file:
                for name in file.keys():
                    self.shapes[name] = tuple(file.get_slice(name).get_shape())
                    self._places[name] = path

    @property
    def checksum(self) -> str:
        """Of the files' content, wherever they lie."""
        return checksum(*(file_checksum(path) for path in self._files))

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], Tensor]]:
        """Reads a weight by its name."""
        with ExitStack() as stack:
            files = {path: stack.enter_context(_open(path)) for path in self._files}
            yield lambda name: files[self._places[name]].get_tensor(name)


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
