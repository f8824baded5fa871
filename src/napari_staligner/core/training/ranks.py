"""Several processes that compute one result together, with the same bits as one alone.

Gradients are not averaged by a tree of sums, whose order would depend on the number of processes:
each process sends those of its tiles to all others, and every one adds all tiles in their order.
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.training.signs import Signs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.distributed import Store, Work

Arrays = Mapping[str, "NDArray[Any]"]

PATIENCE = timedelta(minutes=30)
"""How long a rank is waited for; a large slice takes long to read. By gloo, one that gives no sign
of life is given up sooner."""
MEETING = "NAPARI_STALIGNER_MEETING"
"""Variable with the file by which ranks on one machine find each other."""
LOST = (
    "Another process of this training ended, or does not answer: start it again, from its "
    "checkpoint if there is one."
)


def standing(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the number of this process, from 0, and how many were started together.

    Parameters
    ----------
    environment
        Variables that ``torchrun``, or ``srun``, gave it; without them it is one alone.
    """
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in environment and size in environment:
            return int(environment[rank]), int(environment[size])
    return 0, 1


@dataclass(frozen=True)
class Ranks:
    """One process, and those that compute together with it.

    Parameters
    ----------
    rank, size
        Number of this process, from 0, and how many there are.
    here
        How many of them are on this machine.
    staged
        Whether what lies on a GPU is exchanged through main memory.
    busy
        How much the first has to do besides, as a part of all that is dealt.
    signs
        Signs of life; ``None`` where an exchange cannot be left.
    """

    rank: int = 0
    size: int = 1
    here: int = 1
    staged: bool = False
    busy: float = 0.0
    signs: Signs | None = field(default=None, compare=False, repr=False)

    @classmethod
    def joined(cls) -> Ranks:
        """Join the processes that ``torchrun`` or ``srun`` started; one alone without them.

        Raises
        ------
        InputError
            It is not known where the first of them is.
        ComputeError
            They do not meet.
        """
        rank, size = standing()
        if size == 1:
            return cls()
        import torch
        from torch import distributed

        on_gpu = torch.cuda.is_available()
        if not distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if on_gpu and distributed.is_nccl_available() else "gloo"
            # A rank that is gone is an error here, and not the end of this process.
            os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
            try:
                _meet(backend, rank, size)
            except RuntimeError as error:
                raise ComputeError(LOST) from error
        alone = cls(rank, size)
        host = zlib.crc32(socket.gethostname().encode())
        hosts = [int(alone.share(torch.tensor([host]), owner)) for owner in range(size)]
        here = hosts.count(host)
        staged = False
        if on_gpu:
            torch.cuda.set_device(hosts[:rank].count(host) % torch.cuda.device_count())
            # NCCL takes no two processes on one GPU. All must do the same.
            crowded = torch.tensor([here > torch.cuda.device_count()])
            staged = sum(int(alone.share(crowded.clone(), owner)) for owner in range(size)) > 0
        # A wait for NCCL that is left ends the exchange.
        signs = None if on_gpu and not staged else Signs(_store(alone), rank, size)
        return cls(rank, size, here, staged, signs=signs)

    def deal(self, loads: Sequence[int]) -> list[int]:
        """Return the rank that computes each part: the largest first, to whom has the least."""
        given, owners = [0.0] * self.size, [0] * len(loads)
        given[0] = self.busy * sum(loads)
        for number in sorted(range(len(loads)), key=lambda i: -loads[i]):
            owners[number] = given.index(min(given))
            given[owners[number]] += loads[number]
        return owners

    def share(self, values: Tensor, owner: int) -> Tensor:
        """Return the owner's values on every rank.

        Parameters
        ----------
        values
            The owner's, and on the others an array of the same shape and type, which is filled.
        owner
            A rank.

        Raises
        ------
        ComputeError
            Another rank is gone.
        """
        if self.size > 1:
            from torch import distributed

            sent = values.cpu() if self.staged else values
            self._wait(distributed.broadcast(sent, owner, async_op=True))
            if sent is not values:
                values.copy_(sent)
        return values

    def gather(self, own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return the rows of every rank, on all of them.

        Parameters
        ----------
        own
            Shape (rows, d): those of this rank.
        lengths
            How many rows each rank has.

        Raises
        ------
        ComputeError
            Another rank is gone.
        """
        from torch import distributed

        # Of one length, so that they can go around in a ring: a rank receives each row once.
        longest, width = max(lengths), own.shape[1]
        sent = own.new_zeros(longest, width, device="cpu" if self.staged else own.device)
        sent[: len(own)] = own
        found = [sent.new_empty(longest, width) for _ in lengths]
        self._wait(distributed.all_gather(found, sent, async_op=True))
        return [each[:n].to(own.device) for each, n in zip(found, lengths, strict=True)]

    def _wait(self, work: Work) -> None:
        try:
            if self.signs is None:
                work.wait()
            else:
                self.signs.wait(work)
        except RuntimeError as error:
            raise ComputeError(LOST) from error

    def share_arrays(self, values: Arrays | None, owner: int) -> Arrays:
        """Return the owner's arrays on every rank, whatever their number and shapes.

        Parameters
        ----------
        values
            The owner's; not looked at on the others.
        owner
            A rank.
        """
        if self.size == 1:
            assert values is not None
            return values
        import torch

        head = np.zeros(0, np.uint8)
        if self.rank == owner:
            assert values is not None
            head = _told(values)
        length = int(self.share(torch.tensor([len(head)]), owner))
        head = head if self.rank == owner else np.empty(length, np.uint8)
        self.share(torch.from_numpy(head), owner)
        found: dict[str, NDArray[Any]] = {}
        for name, kind, shape in json.loads(head.tobytes()):
            own = None if self.rank != owner or values is None else values[name]
            found[name] = (
                np.empty(shape, kind) if own is None else np.require(own, None, ["C", "W"])
            )
            if found[name].nbytes:
                self.share(torch.from_numpy(found[name].reshape(-1).view(np.uint8)), owner)
        return values if self.rank == owner and values is not None else found

    def collect(self, rows: Tensor, owners: Sequence[int]) -> Tensor:
        """Return rows that several ranks computed, on all of them.

        Parameters
        ----------
        rows
            Shape (rows, d): those of this rank, and anything in the place of the others.
        owners
            The rank that computed each row.
        """
        if self.size == 1:
            return rows
        import torch

        at = torch.tensor(owners, device=rows.device)
        for owner in range(self.size):
            sent = self.share(rows.clone(), owner)
            rows[at == owner] = sent[at == owner]
        return rows

    def decide(self, value: bool) -> bool:
        """Return what the first rank says."""
        if self.size == 1:
            return value
        import torch

        return bool(self.share(torch.tensor([value]), 0))

    def meet(self) -> None:
        """Wait until all ranks are here."""
        for owner in range(self.size if self.size > 1 else 0):
            import torch

            self.share(torch.zeros(1), owner)


def _told(values: Arrays) -> NDArray[np.uint8]:
    """Names, types and shapes of arrays, as JSON in UTF-8."""
    told = [[name, value.dtype.str, value.shape] for name, value in values.items()]
    return np.frombuffer(bytearray(json.dumps(told).encode()), np.uint8)


def _meet(backend: str, rank: int, size: int) -> None:
    """Find the other processes."""
    from torch import distributed

    if MEETING in os.environ:
        store = distributed.FileStore(os.environ[MEETING], size)
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=PATIENCE
        )
        return
    if "RANK" not in os.environ and os.environ.get("SLURM_STEP_NUM_NODES") == "1":
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    if "MASTER_ADDR" not in os.environ:
        raise InputError(
            "The processes of this training do not know where the first of them is: set "
            "MASTER_ADDR to its machine before srun."
        )
    # The same for all of them, and another one for each step of each job.
    job, step = (int(os.environ.get(f"SLURM_{name}_ID", "0")) for name in ("JOB", "STEP"))
    os.environ.setdefault("MASTER_PORT", str(20_000 + (101 * job + step) % 12_000))
    distributed.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)


def _store(ranks: Ranks) -> Store:
    """Make a store of texts that all ranks read and write, apart from that of the exchanges."""
    import torch
    from torch import distributed

    if MEETING in os.environ:
        return distributed.FileStore(f"{os.environ[MEETING]}.signs", ranks.size)
    host, first = os.environ["MASTER_ADDR"], None
    if not ranks.rank:
        first = distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    port = int(ranks.share(torch.tensor([first.port if first else 0]), 0))
    return first or distributed.TCPStore(host, port, wait_for_workers=False)
