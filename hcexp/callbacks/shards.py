"""Checkpoints in shards, which torch writes as pickles: read without running what somebody may have put into them."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import load
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, TensorStorageMetadata

METADATA = ".metadata"  # which tensors there are, and where in the shards
LAST = "meta.pt"  # the file that Lightning writes last: all that is in no shard

# All that the pickle of METADATA has a right to name, beside torch's dtypes.
NAMES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"} | {name for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    "pathlib": {"Path", "PosixPath", "WindowsPath"},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} has no place there")
        return super().find_class(module, name)


def read_metadata(folder: Path) -> Metadata:
    """What a checkpoint in shards says that it holds; raises UnpicklingError, among others, if it is not that alone.

    What passes here, torch's own reader may read.
    """
    with (folder / METADATA).open("rb") as file:
        metadata = _Unpickler(file).load()
    if not isinstance(metadata, Metadata):
        raise pickle.UnpicklingError(f"{METADATA} holds something else")
    return metadata


def damage_of_shards(folder: Path) -> str | None:
    """What is wrong with a checkpoint in shards, by the sizes of its files; None if nothing is.

    What is in a shard and is no tensor, torch unpickles however it is written: it is looked into.
    """
    if not (folder / LAST).is_file() or not (folder / METADATA).is_file():
        return "is not complete"
    try:
        metadata = read_metadata(folder)
        for index, part in metadata.storage_data.items():
            shard = folder / part.relative_path
            if shard.parent != folder:
                return f"has a shard elsewhere, {part.relative_path}"
            if not shard.is_file() or shard.stat().st_size < part.offset + part.length:
                return f"is cut off in {shard.name}"
            if isinstance(metadata.state_dict_metadata[index.fqn], BytesStorageMetadata):
                with shard.open("rb") as file:
                    file.seek(part.offset)
                    torch.load(io.BytesIO(file.read(part.length)), weights_only=True)
    except Exception as error:  # pickle raises whatever comes of bytes that are wrong
        return f"cannot be read ({type(error).__name__})"
    return None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of the model's state_dict by name, put together on the CPU; the folder must have no `damage`."""
    held = read_metadata(folder).state_dict_metadata.items()
    weights = {
        name: torch.empty(tensor.size, dtype=tensor.properties.dtype)
        for name, tensor in held
        if isinstance(tensor, TensorStorageMetadata) and name.startswith("state_dict.")
    }
    load(weights, checkpoint_id=folder, no_dist=True)
    return {name.removeprefix("state_dict."): weight for name, weight in weights.items()}
