"""What was launched must fit what is asked for, before anything is written."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from anyjepa.errors import InputError
from anyjepa.training.cluster import check_launch

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "GROUP_RANK": "0"}
SLURM = {"SLURM_JOB_NAME": "train"}
SRUN = SLURM | {"SLURM_STEP_ID": "0"}


def launch(devices: int, nodes: int, **environment: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "OMPI", "PMI", "JSM"))}
    kept = {
        n: v
        for n, v in kept.items()
        if n not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK")
    }
    with mock.patch.dict(os.environ, kept | environment, clear=True):
        check_launch(devices, nodes)


@pytest.mark.parametrize(
    ("devices", "nodes", "environment"),
    [
        (1, 1, {}),
        (2, 1, {}),  # Lightning starts the second process
        (1, 1, {"RANK": "0", "WORLD_SIZE": "1"}),
        (2, 1, TORCHRUN | {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}),
        (2, 2, TORCHRUN | {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}),
        (2, 1, SRUN | {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_NTASKS_PER_NODE": "2"}),
        (2, 2, SRUN | {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}),
        (2, 1, {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}),  # as Lightning sets them
        (1, 1, {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"}),  # an interactive job
        (1, 2, {"MASTER_ADDR": "a", "MASTER_PORT": "1", "NODE_RANK": "1"}),
        (2, 1, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "bash"}),  # srun in an interactive job
        (1, 1, {"NODE_RANK": "1"}),  # not used by one process
    ],
)
def test_what_fits_passes(devices: int, nodes: int, environment: dict[str, str]) -> None:
    launch(devices, nodes, **environment)


@pytest.mark.parametrize(
    ("devices", "nodes", "environment", "message"),
    [
        (
            1,
            1,
            TORCHRUN | {"WORLD_SIZE": "2", "RANK": "0"},
            "the launcher started 2 processes (WORLD_SIZE), but --devices 1",
        ),
        (4, 1, TORCHRUN | {"WORLD_SIZE": "2", "RANK": "0"}, "--devices 4 x --nodes 1 makes 4"),
        (1, 1, {"RANK": "1"}, "RANK is 1 in the environment"),
        (1, 1, {"LOCAL_RANK": "3"}, "LOCAL_RANK is 3 in the environment"),
        (1, 1, {"RANK": "one"}, "RANK is 'one' in the environment; it must be a number"),
        (1, 1, {"RANK": "1", "WORLD_SIZE": "2"}, "the launcher started 2 processes"),
        (1, 1, SLURM | {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "Slurm started 2 processes (SLURM_NTASKS)"),
        (2, 1, SLURM | {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "start it with 'srun --nodes=1"),
        (2, 1, SRUN | {"SLURM_NTASKS": "2"}, "start it with 'srun --nodes=1 --ntasks-per-node=2'"),
        (2, 1, SRUN | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2"}, "--ntasks-per-node=2'"),
        (2, 1, {"LOCAL_RANK": "0"}, "LOCAL_RANK is in the environment"),
        (2, 1, {"RANK": "1"}, "RANK is in the environment, but no launcher has set LOCAL_RANK"),
        (2, 1, {"RANK": "0", "WORLD_SIZE": "2"}, "RANK is in the environment, but no launcher has set LOCAL_RANK"),
        (2, 1, {"SLURM_PROCID": "1"}, "SLURM_PROCID is in the environment, but no launcher has set LOCAL_RANK"),
        (2, 1, {"NODE_RANK": "1"}, "NODE_RANK is 1 in the environment; it must be below 1, or unset"),
        (2, 1, {"GROUP_RANK": "3"}, "GROUP_RANK is 3 in the environment; it must be below 1, or unset"),
        (2, 1, {"NODE_RANK": "first"}, "NODE_RANK is 'first' in the environment; it must be a number"),
        (2, 1, {"MASTER_PORT": "auto"}, "MASTER_PORT is 'auto' in the environment; it must be a number"),
        (2, 1, {"MASTER_PORT": "99999"}, "MASTER_PORT is 99999 in the environment; it must be below 65536"),
        (1, 2, {"MASTER_ADDR": "a", "MASTER_PORT": "1", "NODE_RANK": "2"}, "NODE_RANK is 2 in the environment"),
        (0, 1, {}, "--devices 0 x --nodes 1: both must be at least 1"),
        (2, 1, {"OMPI_COMM_WORLD_SIZE": "2"}, "under mpirun needs the package mpi4py"),
        (1, 1, {"SLURM_PROCID": "1"}, "SLURM_PROCID is 1"),
        (1, 1, {"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun started 2 processes"),
        (1, 2, {}, "--nodes 2: start with torchrun or srun"),
    ],
)
def test_what_does_not_fit_is_one_line(devices: int, nodes: int, environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        launch(devices, nodes, **environment)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
