"""Which process this is, where several train together."""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from anyjepa.errors import InputError


def is_first(nodes: int) -> bool:
    """Whether this process makes the run folder. Lightning knows ranks over nodes only once its Trainer is made."""
    return rank_zero_only.rank == 0 and (nodes == 1 or os.environ.get("NODE_RANK", "0") == "0")


def check_nodes(nodes: int) -> None:
    """InputError if several machines could not find each other: neither a launcher nor the user says where they are."""
    if nodes == 1 or any(e.detect() for e in (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment)):
        return
    wanted = {"MASTER_ADDR": "the first machine", "MASTER_PORT": "a free port there", "NODE_RANK": f"0 to {nodes - 1}"}
    missing = [f"{name} ({meaning})" for name, meaning in wanted.items() if not os.environ.get(name)]
    if missing:
        raise InputError(f"--nodes {nodes}: start by torchrun or srun, or set on each machine {', '.join(missing)}")
    rank = os.environ["NODE_RANK"]
    if not rank.isdecimal() or int(rank) >= nodes:
        raise InputError(f"--nodes {nodes}: NODE_RANK is '{rank}'; it is 0 to {nodes - 1}")
