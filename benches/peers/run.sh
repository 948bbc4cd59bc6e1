#!/usr/bin/env bash
# Times rldp and Opacus in turn on the same shape: GPT-2 small, 16 x 128 random tokens, LoRA rank 8 on attention and MLP.
# usage: run.sh SCRATCH [ROUNDS]      SCRATCH gets a Python environment with torch, transformers, peft and opacus (2 GB)
set -euo pipefail
scratch=${1:?usage: run.sh SCRATCH [ROUNDS]} rounds=${2:-3}
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$scratch/venv/bin/python" ] || {
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install -q torch transformers peft opacus
}
cargo build --quiet --release -p rldp-model --example step_speed --manifest-path "$here/../../Cargo.toml"
ours=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../../Cargo.toml" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/step_speed
for round in $(seq "$rounds"); do
  echo "round $round"
  "$scratch/venv/bin/python" "$here/opacus_step.py" --repeats 6
  "$ours" gpt2-small --precision f32 --repeats 6
  "$scratch/venv/bin/python" "$here/opacus_step.py" --repeats 6 --bf16
  "$ours" gpt2-small --precision bf16 --repeats 6
done
