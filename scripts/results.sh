#!/usr/bin/env bash
# Runs what docs/history/spine.md reports. usage: results.sh RLDP SHARED OUT
#   RLDP    the binary          SHARED  folder with data/ and models/          OUT  folder for run folders and logs
# Needs python3 for the Diabetes notes; SmolLM2 must be in OUT/smollm2-model (see SHARED/models).
set -euo pipefail
rldp=$1 shared=$2 out=$3
mkdir -p "$out/data"
python3 -m zipfile -e "$shared/data/e2e/e2e-dataset.zip" "$out/data"
python3 "$(dirname "$0")/diabetes_notes.py" "$shared/data/diabetes130/dataset_diabetes.zip" "$out/data/diabetes" 2
e2e=$out/data/e2e-dataset

# stories260k on E2E references, epsilon 4: fixed and SAC, five seeds each.
for seed in 1 2 3 4 5; do
  for controller in fixed sac; do
    run=$out/stories-$controller-$seed
    [ -e "$run/report.html" ] || "$rldp" train --model "$shared/models/stories260k" --train "$e2e/trainset.csv" --eval "$e2e/devset.csv" \
      --text-column ref --epsilon 4 --delta 1e-5 --controller "$controller" --seed "$seed" --eval-every 50 --out "$run"
    "$rldp" privacy verify "$run"
  done
done

# stories260k on Diabetes 130 notes, one patient is one unit, epsilon 4.
run=$out/diabetes
[ -e "$run/report.html" ] || "$rldp" train --model "$shared/models/stories260k" --train "$out/data/diabetes/train.csv" \
  --eval "$out/data/diabetes/eval.csv" --unit-column patient_nbr --max-length 256 --epsilon 4 --delta 1e-6 --eval-every 50 --out "$run"
"$rldp" privacy verify "$run"

# SmolLM2-135M on E2E, meaning representation as prompt, epsilon 8; evaluated on the first 499 rows of the development set.
head -n 500 "$e2e/devset.csv" > "$out/data/dev500.csv"
run=$out/smollm2
[ -e "$run/report.html" ] || "$rldp" train --model "$out/smollm2-model" --train "$e2e/trainset.csv" --eval "$out/data/dev500.csv" \
  --prompt-column mr --completion-column ref --epsilon 8 --delta 1e-6 --steps 60 --batch-size 128 --eval-every 20 --out "$run"
"$rldp" privacy verify "$run"
