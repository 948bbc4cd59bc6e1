#!/usr/bin/env bash
# What the controller's logs and policy tell about one canary: private and raw observations. usage: audit_channel.sh RLDP DEMO OUT
#   RLDP  the binary      DEMO  folder that `rldp demo` wrote      OUT  folder for run folders
set -euo pipefail
rldp=$1 demo=$2 out=$3
mkdir -p "$out"
head -n 8 "$demo/train.csv" > "$out/seven.csv"
for mode in private raw; do
  raw=$([ "$mode" = raw ] && echo --unsafe-raw-observations || true)
  for run in $(seq 60); do
    [ -e "$out/$mode-$run" ] || "$rldp" train --model "$demo/model" --train "$out/seven.csv" --epsilon 1 --delta 1e-5 --canaries 1 \
      --canary-kinds digits --canary-repetitions 1 --max-length 48 --batch-size 7.5 --steps 20 --interval 5 --controller sac \
      $raw --quiet --out "$out/$mode-$run" > "$out/log" 2>&1
  done
  echo "$mode"
  "$rldp" audit channel $(seq -f "$out/$mode-%g" 60) --guesses 20
done
