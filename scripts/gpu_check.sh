#!/usr/bin/env bash
# Checks and measures the GPU engine on one card, in 15 minutes: memory checker, goldens, invariance, then a table of speeds beside PyTorch.
# usage: gpu_check.sh GPU_CHECK GOLDENS OUT [DEVICE]
#   GPU_CHECK  the program:  cargo build --release -p rldp-gpu --example gpu_check --features cuda
#   GOLDENS    a copy of crates/rldp-model/testdata/goldens
#   OUT        folder for logs and the table
#   DEVICE     cuda (default), cuda:N, or emulated for a rehearsal at toy sizes (a build with --features emulator)
# Needs no network and no Rust. compute-sanitizer (CUDA toolkit), PyTorch and Opacus are used where they are; what is missing is named.
# LENGTHS may name a file of lengths in tokens, a line a record, for the E2E row; otherwise 512 lengths around 60 are made.
set -uo pipefail
program=$1 goldens=$2 out=$3 device=${4:-cuda}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
table=$out/table.txt
: > "$table"
failed=0
deadline=$((SECONDS + ${SECONDS_LEFT:-840}))

# Runs a step within what is left of the time; a failure is counted, and the rest goes on.
step() {
  local name=$1 limit=$2 left=$((deadline - SECONDS))
  shift 2
  if [ "$left" -lt 10 ]; then echo "$name: no time left" | tee -a "$table"; return; fi
  echo "== $name"
  if ! timeout $((limit < left ? limit : left)) "$@" > "$out/$name.log" 2>&1; then
    echo "$name: FAILED, see $out/$name.log" | tee -a "$table"
    tail -n 5 "$out/$name.log"
    failed=1
    return
  fi
  grep -E '^(goldens|invariance|small|product rate|speed|torch|ERROR SUMMARY|========= ERROR)' "$out/$name.log" | tee -a "$table"
}

if [ "$device" != emulated ]; then
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv | tee -a "$table"
fi
sanitizer=$(command -v compute-sanitizer || true)
for tool in memcheck racecheck initcheck; do
  if [ -n "$sanitizer" ] && [ "$device" != emulated ]; then
    step "sanitizer-$tool" 90 "$sanitizer" --tool "$tool" --error-exitcode 9 "$program" small --device "$device"
  else
    echo "sanitizer-$tool: not run, there is no compute-sanitizer" | tee -a "$table"
  fi
done
step small 60 "$program" small --device "$device"
step goldens 120 "$program" goldens "$goldens" --device "$device"
step invariance 120 "$program" invariance --device "$device"
step peak 60 "$program" peak --device "$device"

if [ "$device" = emulated ]; then
  step speed-toy 120 "$program" speed toy --units 4 --tokens 32 --repeats 1 --device emulated
  exit "$failed"
fi

lengths=${LENGTHS:-$out/lengths.txt}
[ -e "$lengths" ] || awk 'BEGIN { srand(1); for (i = 0; i < 512; i++) print int(30 + 30 * (rand() + rand())) }' > "$lengths"
step speed-gpt2-16 60 "$program" speed gpt2-small --units 16 --tokens 128 --device "$device"
step speed-gpt2-256 60 "$program" speed gpt2-small --units 256 --tokens 128 --device "$device"
step speed-smollm2 90 "$program" speed smollm2-135m --units 512 --lengths "$lengths" --device "$device"
step speed-llama-1b 120 "$program" speed llama-1b --units 64 --tokens 512 --repeats 3 --device "$device"
step speed-mistral-7b 180 "$program" speed mistral-7b --units 16 --tokens 512 --repeats 3 --device "$device"

if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
  step torch-gpt2-16 60 python3 "$here/gpu_torch.py" gpt2-small 16 128
  step torch-gpt2-256 60 python3 "$here/gpu_torch.py" gpt2-small 256 128
  step torch-llama-1b 90 python3 "$here/gpu_torch.py" llama-1b 64 512
else
  echo "torch: not run, there is no PyTorch with CUDA" | tee -a "$table"
fi
exit "$failed"
