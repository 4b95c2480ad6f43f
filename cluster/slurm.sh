#!/bin/bash
# Runs the grid of params.yaml on Slurm: sbatch --nodes 4 cluster/slurm.sh
# Starts Ray on the job's nodes, the driver on the first of them, and stops Ray at the end. The project's folder must be
# on a file system that all nodes see. A job that ran into its time limit goes on when it is submitted again.
#SBATCH --job-name=dawm-bench
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$PWD}"
export PATH="$PWD/.venv/bin:$PATH" RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
ray get-auth-token --generate > /dev/null  # in the home folder, which the nodes share

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes 1 --ntasks 1 --nodelist "$first" hostname --ip-address | cut -d ' ' -f 1)
srun --nodes "$SLURM_JOB_NUM_NODES" ray symmetric-run --address "$address:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  -- python -m cluster --address "$address:6379"
