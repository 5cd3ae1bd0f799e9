"""Distributed checkpoints that torch's own writers make, also of tensors that are cut as several ranks cut them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Where a piece begins, and its sizes."""


class Cut(torch.Tensor):  # type: ignore[misc]
    """A tensor that is saved in pieces, by the protocol ``_Checkpointable`` of torch.distributed.checkpoint."""

    whole: torch.Tensor
    boxes: Sequence[Box]
    order: Sequence[int] | None

    @staticmethod
    def of(whole: torch.Tensor, boxes: Sequence[Box], order: Sequence[int] | None = None) -> Cut:
        """``order`` is how the dimensions of each piece lie in storage."""
        made: Cut = torch.Tensor._make_subclass(Cut, whole)
        made.whole, made.boxes, made.order = whole, boxes, order
        return made

    def __create_write_items__(self, fqn: str, object: Any) -> list[Any]:  # noqa: A002
        from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
        from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

        return [
            WriteItem(
                index=MetadataIndex(fqn, torch.Size(start)),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=ChunkStorageMetadata(torch.Size(start), torch.Size(sizes)),
                    properties=TensorProperties.create_from_tensor(self.whole),
                    size=self.whole.size(),
                ),
            )
            for start, sizes in self.boxes
        ]

    def __create_chunk_list__(self) -> list[Any]:
        from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

        return [ChunkStorageMetadata(torch.Size(start), torch.Size(sizes)) for start, sizes in self.boxes]

    def __get_tensor_shard__(self, index: Any) -> torch.Tensor:
        sizes = next(sizes for start, sizes in self.boxes if tuple(start) == tuple(index.offset))
        place = tuple(slice(first, first + length) for first, length in zip(index.offset, sizes, strict=True))
        part = self.whole[place].clone()
        if self.order is None:
            return part
        back = [self.order.index(axis) for axis in range(len(self.order))]
        return part.permute(*self.order).contiguous().permute(*back)


def rows(whole: torch.Tensor, count: int) -> Cut:
    """A tensor in ``count`` runs of rows, as FSDP cuts it; those that get none begin behind the last row."""
    step = -(-whole.shape[0] // count)
    starts = [min(rank * step, whole.shape[0]) for rank in range(count)]
    boxes = [
        ((start, *(0,) * (whole.ndim - 1)), (min(step, whole.shape[0] - start), *whole.shape[1:])) for start in starts
    ]
    return Cut.of(whole, boxes)


def save_distributed(folder: Path, value: dict[str, Any], *, flatten: bool = True, **options: Any) -> Path:
    """Save with torch's FileSystemWriter, which gets ``options``, in this process alone."""
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(
            value,
            storage_writer=dcp.FileSystemWriter(folder, **options),
            planner=dcp.DefaultSavePlanner(flatten_state_dict=flatten),
            no_dist=True,
        )
    return folder


def load_whole(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, whole, by torch's own loader."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listed = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
        state = {
            name: torch.empty(entry.size, dtype=entry.properties.dtype)
            for name, entry in listed.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        dcp.load(state, checkpoint_id=folder, no_dist=True)
    return state


def edit_metadata(folder: Path, change: Callable[[Any], object], name: str = ".metadata") -> None:
    """Change torch's own Metadata object of a folder, and write it back."""
    path = folder / name
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def by_rank(folder: Path) -> Path:
    """Give each file to a rank of its own: ``__0_3.distcp`` becomes ``__3_0.distcp``."""

    def rename(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.relative_path = swapped(info.relative_path)

    def swapped(name: str) -> str:
        rank, number = name.removeprefix("__").removesuffix(".distcp").split("_")
        return f"__{number}_{rank}.distcp"

    for path in sorted(folder.glob("__0_*.distcp"), reverse=True):
        path.rename(folder / swapped(path.name))
    edit_metadata(folder, rename)
    return folder


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """The elements of a tensor in row-major order, bit by bit."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
