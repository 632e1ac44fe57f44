#!/usr/bin/env bash
# A run on every GPU of this machine, started by torchrun.
#
#   examples/torchrun.sh config.yaml [KEY=VALUE]...
#
# The same command goes on where a run was stopped; the number of processes may be another one.
# Without GPUs: PROCESSES=2 examples/torchrun.sh config.yaml trainer.accelerator=cpu
# Several machines (not tried): give torchrun --nnodes, --node-rank and --rdzv-endpoint, and the
# config trainer.num_nodes; the run folder must be on a file system that all of them see.
set -euo pipefail

processes=${PROCESSES:-$(nvidia-smi --list-gpus | wc -l)}
# more threads than cores would wait for one another
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

exec torchrun --nproc-per-node "$processes" -m lvlmsal evaluate "$@" \
    trainer.devices="$processes" trainer.strategy=ddp
