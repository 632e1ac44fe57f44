#!/usr/bin/env bash
# A run on four GPUs of one node, which goes on by itself after preemption or the time limit.
#
#   sbatch examples/slurm.sh config.yaml [KEY=VALUE]...
#
# Not tried on a cluster by those who wrote it. SLURM sends SIGTERM before it takes the node away: the
# run closes its files and ends, and the requeued job goes on with the same command.
#SBATCH --job-name=lvlmsal
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM two minutes before the end, to the tasks of srun
#SBATCH --signal=TERM@120
set -euo pipefail

# exit code 143 says that the run was stopped and has more to do
code=0
srun --kill-on-bad-exit=1 python -m lvlmsal evaluate "$@" \
    trainer.devices="$SLURM_NTASKS_PER_NODE" trainer.num_nodes="$SLURM_NNODES" trainer.strategy=ddp \
    || code=$?
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
