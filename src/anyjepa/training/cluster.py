"""Ranks in distributed training. Lightning is imported by the functions that need it."""

from __future__ import annotations

import os
from importlib.util import find_spec

from anyjepa.errors import InputError

LAUNCHERS = {  # environment variables with the number of processes, and who sets them
    "WORLD_SIZE": "the launcher",
    "SLURM_NTASKS": "Slurm",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "JSM_NAMESPACE_SIZE": "jsrun",
}

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # variables that Lightning reads


def check_ranks() -> None:
    """Raise InputError if a rank is not a number, which would make the import of Lightning fail."""
    for name in RANKS:
        _number(name)


def is_main_process() -> bool:
    """Whether this is the process of rank 0."""
    from lightning.pytorch.utilities import rank_zero_only

    return rank_zero_only.rank == 0


def is_first(nodes: int) -> bool:
    """Whether this process creates the run folder. Before its Trainer exists, Lightning knows only local ranks."""
    return is_main_process() and (nodes == 1 or os.environ.get("NODE_RANK", "0") == "0")


def check_launch(devices: int, nodes: int) -> None:
    """Raise InputError if the launcher did not start `devices` x `nodes` processes.

    Otherwise several processes would train the same run in one folder, or one process would wait forever for others.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    processes = devices * nodes
    started = f"--devices {devices} x --nodes {nodes}"
    if min(devices, nodes) < 1:
        raise InputError(f"{started}: both must be at least 1")
    for name, launcher in LAUNCHERS.items():
        if (size := _number(name)) is None or (name == "SLURM_NTASKS" and not SLURMEnvironment.detect()):
            continue
        if size != processes:
            raise InputError(
                f"{launcher} started {size} processes ({name}), but {started} makes {processes}; make them agree, or "
                f"unset {name} if nothing was launched"
            )
    for name in RANKS:
        if (rank := _number(name)) is not None and rank >= processes:
            raise InputError(
                f"{name} is {rank} in the environment, but {started} makes {processes}; unset it if another job "
                "has set it"
            )
    if processes > 1 and SLURMEnvironment.detect():
        _check_slurm(devices, nodes)
    elif processes > 1:
        _check_others(started, nodes)
    if nodes > 1:
        _check_addresses(nodes)


def _number(name: str) -> int | None:
    """Number in an environment variable; None if it is not set. Raises InputError if it is not a number."""
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdecimal():
        raise InputError(f"{name} is '{text}' in the environment; it must be a number, or unset")
    return int(text)


def _check_slurm(devices: int, nodes: int) -> None:
    """Raise InputError unless srun started `devices` tasks on each of `nodes` machines, which Lightning requires."""
    tasks, machines = os.environ.get("SLURM_NTASKS_PER_NODE"), os.environ.get("SLURM_NNODES", str(nodes))
    if "SLURM_STEP_ID" not in os.environ or (tasks, machines) != (str(devices), str(nodes)):
        raise InputError(
            f"--devices {devices} x --nodes {nodes}: in this Slurm job, start it with "
            f"'srun --nodes={nodes} --ntasks-per-node={devices}'"
        )


def _check_others(started: str, nodes: int) -> None:
    """Raise InputError for variables that another job has left in the environment, and for mpirun without mpi4py.

    Lightning would use them: no process would save the model, or processes would wait for others forever.
    """
    ranks = [name for name in RANKS if (number := _number(name)) or (number == 0 and "SLURM" not in name)]
    missing = [name for name in ("LOCAL_RANK", "WORLD_SIZE") if not os.environ.get(name)]
    if ranks and missing and not os.environ.get("JSM_NAMESPACE_SIZE"):
        raise InputError(
            f"{started}: {ranks[0]} is in the environment, but no launcher has set {missing[0]}; unset {ranks[0]}, or "
            "start with torchrun"
        )
    for name, limit in {"NODE_RANK": nodes, "GROUP_RANK": nodes, "MASTER_PORT": 2**16}.items():
        if (number := _number(name)) is not None and number >= limit:
            raise InputError(f"{started}: {name} is {number} in the environment; it must be below {limit}, or unset")
    if (_number("OMPI_COMM_WORLD_SIZE") or _number("PMI_SIZE")) and not find_spec("mpi4py"):
        raise InputError(f"{started}: training under mpirun needs the package mpi4py; install it, or use torchrun")


def _check_addresses(nodes: int) -> None:
    """Raise InputError if neither a launcher nor the user has set the address of the first machine."""
    from lightning.fabric.plugins.environments.lsf import LSFEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if any(e.detect() for e in (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment)):
        return
    needed = {"MASTER_ADDR": "the first machine", "MASTER_PORT": "a free port there", "NODE_RANK": f"0 to {nodes - 1}"}
    missing = [f"{name} ({meaning})" for name, meaning in needed.items() if not os.environ.get(name)]
    if missing:
        raise InputError(f"--nodes {nodes}: start with torchrun or srun, or set on each machine {', '.join(missing)}")
