"""What schedulers leave in the environment of a process that they start."""

STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}
ARRAY = {
    "SLURM_JOB_ID": "9",
    "SLURM_PROCID": "0",  # of the batch script
    "SLURM_NTASKS": "1",
    "SLURM_ARRAY_TASK_ID": "30",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_MAX": "40",
    "SLURM_ARRAY_TASK_STEP": "10",
}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
}
POD = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "6"}
TPU = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "t-0, t-1,t-2,t-3"}

ALL = frozenset({**STEP, **ARRAY, **TORCHRUN, **MPI, **POD, **TPU})
"""Names of all the variables."""
