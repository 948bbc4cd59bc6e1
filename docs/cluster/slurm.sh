#!/bin/bash
# One run on two nodes with four ranks each. Submit with: sbatch slurm.sh
#SBATCH --job-name=rldp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --signal=TERM@120
# The signal comes two minutes before the time limit: the run saves itself, and this script, submitted again, goes on.
set -euo pipefail
run=${RUN:-run}
if [ -f "$run/config.toml" ]; then
    srun --mpi=pmix --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" rldp train --resume "$run"
else
    srun --mpi=pmix --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" rldp train --config train.toml --out "$run"
fi
