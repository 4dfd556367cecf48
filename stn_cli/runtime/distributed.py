"""Processes that train together, started by torchrun: who is who, sums over all of them, and one that writes."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stn_cli.errors import ColocError, ResourceError
from stn_cli.runtime.device import pick_device
from stn_cli.runtime.launch import Launch, launched

LOST = (
    "connection closed",
    "connection reset",
    "socket closed",
    "peer closed",
    "broken pipe",
    "timed out",
    "nccl error",
    "connection refused",
)
"""How torch says that another process has gone, in lower case."""


PATIENCE = datetime.timedelta(days=1)
"""How long processes wait for each other: a search on one of them may take hours. That one has gone is seen at once."""


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors. Each of them goes on to a loss of its own, so that gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Add up."""
        out = value.contiguous().clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Add up."""
        out = grads[0].contiguous().clone()
        dist.all_reduce(out)
        return out


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's part of `total` things: the parts of all follow each other."""
        return slice(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, through which gradients go back to each of them."""
        return value if self.size == 1 else cast(Tensor, _Sum.apply(value))

    def add_up(self, value: Tensor) -> Tensor:
        """The sum over all processes, written into `value`; without gradients."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def gather(self, value: Tensor, total: int) -> Tensor:
        """All processes' parts (n, ...) of `total` rows, through which gradients go back to each of them."""
        if self.size == 1:
            return value
        whole = value.new_zeros((total, *value.shape[1:]))
        whole[self.share(total)] = value
        return self.sum(whole)

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of all gradients; a parameter without one counts as 0."""
        if self.size == 1:
            return
        kept = list(parameters)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
        flat = self.add_up(torch.cat([grad.flatten() for grad in grads]))
        for p, part in zip(kept, flat.split([p.numel() for p in kept]), strict=True):
            p.grad = part.view_as(p).clone()

    def same(self, module: nn.Module) -> None:
        """Give every process the first one's weights: other hardware rounds otherwise."""
        if self.size > 1:
            for value in module.state_dict().values():
                dist.broadcast(value, 0)

    def largest(self, value: int) -> int:
        """The largest of all processes' numbers."""
        if self.size == 1:
            return value
        held = torch.tensor([value], device=_where())
        dist.all_reduce(held, dist.ReduceOp.MAX)
        return int(held)

    def told(self, value: Any) -> Any:
        """What the first process says."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def all_of(self, value: Any) -> list[Any]:
        """What every process says, by rank."""
        if self.size == 1:
            return [value]
        box = [None] * self.size
        dist.all_gather_object(box, value)
        return box


ALONE = Team()


def _where() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


@contextmanager
def team_of(device: str) -> Iterator[tuple[Team, str]]:
    """The processes that torchrun started, and the device of this one; a plain process is a team by itself.

    Args:
        device: `auto`, `cpu`, `cuda`; with several processes each takes the GPU of its local rank.

    Yields:
        The team, and the device's name.

    Raises:
        ResourceError: a rank has no GPU, or another process has gone.
    """
    here = launched()
    if here.size == 1:
        yield ALONE, device
        return
    own = _device_of_rank(device, here)
    with watched(), _only_one_speaks(here):
        dist.init_process_group("nccl" if own.startswith("cuda") else "gloo", timeout=PATIENCE)
        try:
            yield Team(here.rank, here.size), own
        finally:
            dist.destroy_process_group()


@contextmanager
def _only_one_speaks(here: Launch) -> Iterator[None]:
    """What all processes meet is told by the first one alone; what one of them lacks it tells itself."""
    try:
        yield
    except ColocError as error:
        if here.speaks or isinstance(error, ResourceError):
            raise
        raise SystemExit(error.exit_code) from error


def _device_of_rank(device: str, here: Launch) -> str:
    rank, local = here.rank, here.local
    picked = pick_device(device).type
    if picked != "cuda":
        return picked
    there = torch.cuda.device_count()
    if local >= there:
        why = f"{there} on this machine, and this is number {local + 1}"
        raise ResourceError("a process has no GPU", f"rank {rank}", why, "Lower --nproc-per-node, or use --device cpu")
    torch.cuda.set_device(local)
    return f"cuda:{local}"


@contextmanager
def watched() -> Iterator[None]:
    """Errors of torch that mean that another process has gone, as one that a user can act on.

    Raises:
        ResourceError: another process has gone.
    """
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        said = str(error).lower()
        if not isinstance(error, dist.DistError) and not any(words in said for words in LOST):
            raise
        todo = "Its own message says why; go on with --resume, with as many processes as there are"
        raise ResourceError("another process of the training has ended", todo=todo) from error


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes, on any device; torch's own is for GPUs alone.

    Args:
        like: the layer whose place it takes; parameters and buffers are shared with it.
        team: whose batches count.
    """

    def __init__(self, like: nn.BatchNorm1d | nn.BatchNorm2d, team: Team) -> None:
        super().__init__(like.num_features, like.eps, like.momentum)
        self.weight, self.bias = like.weight, like.bias
        self.running_mean, self.running_var, self.num_batches_tracked = (
            like.running_mean,
            like.running_var,
            like.num_batches_tracked,
        )
        self._team = team

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the mean and the variance of each channel over all processes."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        over = [d for d in range(x.ndim) if d != 1]
        count = self._team.add_up(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
        shape = [1, -1, *[1] * (x.ndim - 2)]
        mean = self._team.sum(x.sum(over)) / count
        centred = x - mean.view(shape)
        variance = self._team.sum(centred.square().sum(over)) / count
        with torch.no_grad():
            momentum = cast(float, self.momentum)
            cast(Tensor, self.running_mean).lerp_(mean, momentum)
            cast(Tensor, self.running_var).lerp_(variance * count / (count - 1).clamp(min=1), momentum)
            cast(Tensor, self.num_batches_tracked).add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


def share_norms(module: nn.Module, team: Team) -> None:
    """Let every batch normalisation of a network see the batches of all processes.

    Args:
        module: whose layers are replaced; names of parameters stay.
        team: the processes.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, GlobalBatchNorm(child, team))
        else:
            share_norms(child, team)
