#!/usr/bin/env bash
# Times rldp and Opacus in turn on the same shapes and prints medians; ratios are of lines of one round.
#   GPT-2 small of random weights, 16 x 128 random tokens, LoRA rank 8 on attention and MLP
#   with a MODEL and E2E's trainset.csv: batches of 32 as long as the records `mr | ref`
# usage: run.sh SCRATCH [ROUNDS [MODEL_DIR TRAINSET.csv]]
# SCRATCH gets a Python environment with torch, transformers, peft and opacus (2 GB)
set -euo pipefail
scratch=${1:?usage: run.sh SCRATCH [ROUNDS [MODEL_DIR TRAINSET.csv]]} rounds=${2:-3} model=${3:-} table=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
python=$scratch/venv/bin/python
[ -x "$python" ] || {
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install -q torch transformers peft opacus
}
cargo build --quiet --release -p rldp-model --example step_speed --manifest-path "$here/../../Cargo.toml"
ours=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../../Cargo.toml" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/examples/step_speed
ours_model=gpt2-small theirs=() shape=(--repeats 6)
if [ -n "$model" ]; then
  "$python" "$here/lengths.py" "$model" "$table" 32 '{mr} | {ref}' 512 > "$scratch/lengths.txt"
  ours_model=$model theirs=(--model "$model") shape=(--units 32 --lengths "$scratch/lengths.txt" --repeats 5)
fi
for round in $(seq "$rounds"); do
  echo "round $round"
  "$python" "$here/opacus_step.py" "${theirs[@]}" "${shape[@]}"
  "$ours" "$ours_model" "${shape[@]}" --precision f32
  "$python" "$here/opacus_step.py" "${theirs[@]}" "${shape[@]}" --bf16
  "$ours" "$ours_model" "${shape[@]}" --precision bf16
done
