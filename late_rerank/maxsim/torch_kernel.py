"""MaxSim on a torch device. Blocks are moved packed, then cast, multiplied and reduced on the device."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from late_rerank.maxsim.blocks import BlockKernel
from late_rerank.processes.forks import check_device, lost_threads
from late_rerank.types import F32, I64


class TorchKernel(BlockKernel):
    """For accelerators.

    Args:
        device: A torch device: "cuda", "cuda:1", "mps", "cpu".
    """

    def __init__(self, device: str) -> None:
        self.name = f"torch:{device}"
        self._device = torch.device(device)

    def _block_maxima(self, query: F32, rows: NDArray[Any], scales: F32 | None, lengths: I64) -> F32:
        check_device(self._device.type)
        if lost_threads():
            torch.set_num_threads(1)  # torch would wait for threads that only the parent process has
        # float32 for every packing: sums in bfloat16 collapse thousands of documents into one score.
        products = self._moved(rows).to(torch.float32) @ torch.tensor(query, device=self._device).T
        if scales is not None:
            products *= self._moved(scales)[:, None]
        owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.from_numpy(lengths)).to(self._device)
        best = torch.full((len(lengths), len(query)), -torch.inf, device=self._device)
        best.scatter_reduce_(0, owner[:, None].expand_as(products), products, "amax")
        maxima: F32 = best.cpu().numpy()
        return maxima

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)
