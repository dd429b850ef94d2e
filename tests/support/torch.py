"""As much of PyTorch as rows of tables need, and a worker of a loader in a process of its own."""

import pickle
import sys
from types import ModuleType, SimpleNamespace
from typing import Any


class IterableDataset:
    """What a loader iterates over in place of looking rows up."""


def stand_in(worker: SimpleNamespace | None = None) -> Any:
    """Return a module like torch, within a worker or not; PyTorch itself is too large to install for tests."""
    torch = ModuleType("torch")
    data = SimpleNamespace(IterableDataset=IterableDataset, get_worker_info=lambda: worker)
    torch.__dict__.update(utils=SimpleNamespace(data=data), from_numpy=lambda values: values)
    return torch


def read_share(pickled: bytes, number: int, workers: int) -> list[int]:
    """Read the ids of a worker's share of a pickled dataset, as a process does that was spawned."""
    sys.modules["torch"] = stand_in(SimpleNamespace(id=number, num_workers=workers))
    return [int(value) for batch in pickle.loads(pickled) for value in batch["id"]]
