#!/usr/bin/env bash
# Checks and measures the GPU engine on one card, in 15 minutes: memory checker, goldens, invariance, then a table of speeds beside PyTorch.
# usage: gpu_check.sh GPU_CHECK GOLDENS OUT [DEVICE]
#   GPU_CHECK  the program:  cargo build --release -p rldp-gpu --example gpu_check --features cuda
#   GOLDENS    a copy of crates/rldp-model/testdata/goldens
#   OUT        folder for logs and the table
#   DEVICE     cuda (default), cuda:N, or emulated for a rehearsal at toy sizes (a build with --features emulator)
# Needs no network and no Rust. compute-sanitizer (CUDA toolkit), PyTorch and Opacus are used where they are; what is missing is named.
# LENGTHS may name a file of lengths in tokens, a line a record, for the E2E row; otherwise 512 lengths around 60 are made.
# SECONDS_LEFT (840) is all the time there is. Each step has a part of it, and what it leaves goes to those after it: a step that hangs is
# ended, and takes nothing from the others.
set -uo pipefail
program=$1 goldens=$2 out=$3 device=${4:-cuda}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
table=$out/table.txt
: > "$table"
failed=0
names=() parts=() commands=()

# Plans a step: its name, its part of the time in seconds of 840, and its command.
step() {
  names+=("$1") parts+=("$2")
  shift 2
  commands+=("$(printf '%q ' "$@")")
}

# Says what is not run, and why, in its place.
leave_out() { step "$1" 0 echo "$1: not run, $2"; }

sanitizer=$(command -v compute-sanitizer || true)
for tool in memcheck racecheck initcheck; do
  if [ -n "$sanitizer" ] && [ "$device" != emulated ]; then
    step "sanitizer-$tool" 60 "$sanitizer" --tool "$tool" --error-exitcode 9 "$program" small --device "$device"
  else
    leave_out "sanitizer-$tool" "there is no compute-sanitizer"
  fi
done
step small 20 "$program" small --device "$device"
step goldens 50 "$program" goldens "$goldens" --device "$device"
step invariance 50 "$program" invariance --device "$device"
step peak 20 "$program" peak --device "$device"

if [ "$device" = emulated ]; then
  step speed-toy 120 "$program" speed toy --units 4 --tokens 32 --repeats 1 --device emulated
else
  lengths=${LENGTHS:-$out/lengths.txt}
  [ -e "$lengths" ] || awk 'BEGIN { srand(1); for (i = 0; i < 512; i++) print int(30 + 30 * (rand() + rand())) }' > "$lengths"
  step speed-gpt2-16 30 "$program" speed gpt2-small --units 16 --tokens 128 --device "$device"
  step speed-gpt2-256 40 "$program" speed gpt2-small --units 256 --tokens 128 --device "$device"
  step speed-smollm2 60 "$program" speed smollm2-135m --units 512 --lengths "$lengths" --device "$device"
  step speed-llama-1b 80 "$program" speed llama-1b --units 64 --tokens 512 --repeats 3 --device "$device"
  step speed-mistral-7b 120 "$program" speed mistral-7b --units 16 --tokens 512 --repeats 3 --device "$device"
  if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    step torch-gpt2-16 50 python3 "$here/gpu_torch.py" gpt2-small 16 128
    step torch-gpt2-256 60 python3 "$here/gpu_torch.py" gpt2-small 256 128
    step torch-llama-1b 80 python3 "$here/gpu_torch.py" llama-1b 64 512
  else
    leave_out torch "there is no PyTorch with CUDA"
  fi
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv | tee -a "$table"
fi

deadline=$((SECONDS + ${SECONDS_LEFT:-840}))
rest=0
for part in "${parts[@]}"; do rest=$((rest + part)); done
for i in "${!names[@]}"; do
  name=${names[$i]} part=${parts[$i]} command=${commands[$i]}
  log=$out/$name.log
  if [ "$part" = 0 ]; then eval "$command" | tee -a "$table"; continue; fi
  limit=$(((deadline - SECONDS) * part / rest))
  rest=$((rest - part))
  echo "== $name (at most $limit s)"
  began=$SECONDS
  # No limit of 0, which would be none.
  eval "timeout --kill-after=1 $((limit > 0 ? limit : 1)) $command" > "$log" 2>&1
  code=$?
  if [ "$code" != 0 ]; then
    why=FAILED
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then why="ENDED after its $limit s"; fi
    echo "$name: $why, see $log" | tee -a "$table"
    tail -n 5 "$log"
    failed=1
    continue
  fi
  grep -E '^(goldens|invariance|small|product rate|speed|torch|ERROR SUMMARY|========= ERROR)' "$log" | tee -a "$table"
  echo "   $((SECONDS - began)) s"
done
exit "$failed"
