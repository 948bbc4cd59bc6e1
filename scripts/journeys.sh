#!/usr/bin/env bash
# Three newcomers' ways from their files to what they came for, each command with the seconds it took. What was seen: docs/results/journeys.md.
#
# usage: journeys.sh RLDP MODEL TRAIN.csv EVAL.csv UNIT_COLUMN OUT HOURS
#
# An engineer has MODEL, records with one column that names the person, HOURS, and no idea of steps, batch or rate. An officer gets the run folder
# and wants to sign, and to know whether a swapped file is seen. A researcher compares two methods on two seeds and budgets, and asks what a
# plan costs. Ends with an error where a command does not answer as it should.
set -euo pipefail
[ $# = 7 ] || { sed -n '4p' "$0" >&2; exit 2; }
rldp=$(realpath "$1") model=$(realpath "$2") train=$(realpath "$3") eval=$(realpath "$4") unit=$5 hours=$7
mkdir -p "$6"; cd "$6"; rm -rf run release runs cmp

say() { printf '\n== %s\n' "$*"; }
# Runs a command, shows its last lines, and how long it took; the first word is the exit status that is right.
try() {
    local wanted=$1 began ended status=0; shift
    printf '\n$ rldp %s\n' "$*"; began=$(date +%s.%N)
    "$rldp" "$@" >said 2>&1 || status=$?
    ended=$(date +%s.%N); tail -n 6 said | cut -c1-150
    printf -- '-- exit %s, %.1f s\n' "$status" "$(echo "$ended - $began" | bc)"
    [ "$status" = "$wanted" ] || { echo "expected exit $wanted"; exit 1; }
}

say "an engineer"
records=(--train "$train" --eval "$eval" --unit-column "$unit" --allow-shared-eval)
try 0 plan --model "$model" --train "$train" --eval "$eval" --unit-column "$unit" --epsilon 4 --delta 1e-5 --hours "$hours" --write-config plan.toml
try 0 train --config plan.toml --model "$model" "${records[@]}" --out run
try 0 privacy verify run
try 0 evaluate --model "$model" --adapter run/adapter --data "$eval"
try 0 generate --model "$model" --adapter run/adapter --prompt "Caucasian female aged"
try 0 report run --out report.html

say "an officer"
[ -e signer ] || ssh-keygen -q -t ed25519 -N '' -f signer
try 0 privacy sign run --key signer
try 0 export run --out release
try 0 privacy verify release --public-key signer.pub
cp release/adapter/adapter_model.safetensors kept
printf '\0' | dd of=release/adapter/adapter_model.safetensors bs=1 seek=5000 conv=notrunc status=none
printf '\1' | dd of=release/adapter/adapter_model.safetensors bs=1 seek=5001 conv=notrunc status=none
try 1 privacy verify release --public-key signer.pub
mv kept release/adapter/adapter_model.safetensors
try 0 privacy verify release --public-key signer.pub

say "a researcher"
cat >grid.toml <<GRID
baseline = "adamw"
paired = true

[base]
model = "$model"
train = "$train"
eval = "$eval"
unit_column = "$unit"
allow_shared_eval = true
delta = 1e-5
steps = 12
batch_size = 32.0
max_length = 64

[axes]
epsilon = [1.0, 8.0]
seed = [1, 2]

[[method]]
name = "adamw"
controller = "fixed"
clipping = "flat"
beta1 = 0.9
noise_bands = 1
learning_rate = 0.004

[[method]]
name = "default"
controller = "fixed"
GRID
try 0 compare grid.toml --out cmp --dry-run
try 0 compare grid.toml --out cmp
try 0 compare grid.toml --out cmp
try 0 privacy epsilon --noise-multiplier 1 --sampling-rate 0.01 --steps 1000 --delta 1e-5
try 0 privacy calibrate --epsilon 2 --delta 1e-5 --units 1200 --batch-size 64 --steps 150
