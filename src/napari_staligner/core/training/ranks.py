"""Several processes that compute one result together, with the same bits as one alone.

Gradients are not averaged by a tree of sums, whose order would depend on the number of processes:
each process sends those of its tiles to all others, and every one adds all tiles in their order.
"""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_staligner._errors import ComputeError, InputError
from napari_staligner.core.progress import Progress, Steps
from napari_staligner.core.training.signs import Signs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.distributed import Store, Work

T = TypeVar("T")
Item = TypeVar("Item")
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
ENDED = "The first process ended the training."


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

        content = torch.empty(0, dtype=torch.uint8)
        if self.rank == owner:
            assert values is not None
            content = torch.from_numpy(_packed(values))
        length = int(self.share(torch.tensor([len(content)]), owner))
        if self.rank != owner:
            content = torch.empty(length, dtype=torch.uint8)
        self.share(content, owner)
        return values if self.rank == owner and values is not None else _unpacked(content.numpy())

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


def _packed(values: Arrays) -> NDArray[np.uint8]:
    """Arrays as bytes: their number, names, types and shapes as text, and what they hold."""
    arrays = {name: np.ascontiguousarray(value) for name, value in values.items()}
    # A contiguous array of no dimension has got one.
    shapes = [np.shape(value) for value in values.values()]
    told = [[n, a.dtype.str, shape] for (n, a), shape in zip(arrays.items(), shapes, strict=True)]
    head = json.dumps(told).encode()
    parts = [len(head).to_bytes(8, "little"), head, *(a.tobytes() for a in arrays.values())]
    return np.frombuffer(bytearray(b"".join(parts)), np.uint8)


def _unpacked(content: NDArray[np.uint8]) -> Arrays:
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    found = {}
    for name, kind, shape in json.loads(content[8:start].tobytes()):
        array = np.empty(shape, np.dtype(kind))
        end = start + array.nbytes
        found[name] = np.frombuffer(content[start:end].tobytes(), array.dtype).reshape(shape).copy()
        start = end
    return found


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


def in_step(steps: Steps[T], ranks: Ranks) -> Steps[T]:
    """Run a computation on all ranks; whoever takes the first one's steps decides if it goes on.

    Parameters
    ----------
    steps
        The computation; it has the same steps on all ranks.
    ranks
        The processes.

    Raises
    ------
    ComputeError
        The first rank's was closed, or another rank is gone.
    """
    if ranks.size == 1:
        return (yield from steps)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            yield step
        except GeneratorExit:
            steps.close()
            if not ranks.rank:
                with suppress(ComputeError):
                    ranks.decide(False)
            raise
        if not ranks.decide(True):
            raise ComputeError(ENDED)


def each(
    items: Sequence[Item],
    compute: Callable[[Item], Arrays],
    said: Callable[[int], Progress],
    ranks: Ranks,
    loads: Sequence[int] | None = None,
    threads: int = 1,
) -> Steps[list[Arrays]]:
    """Compute something for each item, every rank for some of them.

    Every step, each rank computes one of its items: an exchange waits for all of them, also the one
    that tells whether to go on, see :func:`in_step`, and whoever has no item between two would wait
    for the others to compute theirs. If another rank is lost, the first one computes what is
    missing.

    Parameters
    ----------
    items
        The same on all ranks.
    compute
        Returns arrays of numbers.
    said
        The progress when so many items are done, of one rank, or about so many, of several.
    ranks
        The processes.
    loads
        How long each item takes, in any unit; all the same if ``None``.
    threads
        How many items a rank computes at a time.

    Returns
    -------
    The arrays of every item, on all ranks.
    """
    loads = [1] * len(items) if loads is None else loads
    owners = ranks.deal(loads)
    mine = [number for number, owner in enumerate(owners) if owner == ranks.rank]
    rounds = max(map(owners.count, range(ranks.size)))
    if ranks.size > 1:
        # What is computed at the same time should take about as long.
        mine.sort(key=lambda number: -loads[number])
    own: dict[int, Arrays] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        wanted = [items[number] for number in mine]
        # Nothing is computed before it is asked for, if there is one thread.
        given = iter(pool.map(compute, wanted) if threads > 1 else map(compute, wanted))
        for done in range(rounds):
            yield said(min(done * ranks.size, len(items) - 1))
            if done < len(mine):
                own[mine[done]] = next(given)
    finally:
        pool.shutdown(cancel_futures=True)
    if ranks.size == 1:
        return [own[number] for number in range(len(items))]
    return list(_gathered(items, compute, ranks, owners, own))


def _gathered(
    items: Sequence[Item],
    compute: Callable[[Item], Arrays],
    ranks: Ranks,
    owners: Sequence[int],
    own: Mapping[int, Arrays],
) -> Iterator[Arrays]:
    lost = False
    for number, owner in enumerate(owners):
        if not lost:
            try:
                yield ranks.share_arrays(own.get(number), owner)
                continue
            except ComputeError:
                if ranks.rank:
                    raise
                lost = True
        yield own[number] if number in own else compute(items[number])
