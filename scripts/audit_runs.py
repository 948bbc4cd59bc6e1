"""Trains private runs and runs without noise on the demo's notes, audits each, and tabulates what the audits proved.

    rldp demo --out demo
    python3 scripts/audit_runs.py run rldp demo out      # a line in out/results.jsonl as each run ends; goes on after a stop
    python3 scripts/audit_runs.py table out
"""

import json
import math
import pathlib
import statistics
import subprocess
import sys
import tomllib

NOTES = 399
PRIVATE = [(epsilon, controller, seed) for seed in range(3) for epsilon in (0.5, 2.0, 8.0) for controller in ("fixed", "sac")]
PRIVATE += [(8.0, "fixed", 3), (8.0, "sac", 3)]
# Methods of the comparison's slice, at the largest budget, where attacks find most.
COMPARED = ("opacus-default", "auto-s", "quantile", "dc-sgd", "dp-adambc", "set", "set-searched")
PRIVATE += [(8.0, name, seed) for seed in range(4) for name in COMPARED]
BARE = [(None, "non-private", seed) for seed in range(3)]
COMMON = "--steps 60 --batch-size 64 --max-length 48 --eval-every 60 --hold-out-members --canaries 90 --quiet"


def flags(method):
    """A method of grids/slice.toml as flags; fixed and sac were run with the statistics that a controller sees by default."""
    if method not in COMPARED:
        return f"--controller {method}"
    grid = tomllib.loads((pathlib.Path(__file__).parent.parent / "grids/slice.toml").read_text())
    settings = next(entry for entry in grid["method"] if entry["name"] == method)
    words = [f"--{key.replace('_', '-')} {str(value).lower()}" for key, value in settings.items() if key != "name"]
    return " ".join(words)


def run(rldp, demo, out):
    demo, out = pathlib.Path(demo), pathlib.Path(out)
    out.mkdir(exist_ok=True)
    notes = (demo / "train.csv").read_text().splitlines(keepends=True)
    train, results = out / "notes.csv", out / "results.jsonl"
    train.write_text("".join(notes[: NOTES + 1]))
    done = {json.loads(line)["run"] for line in results.read_text().splitlines()} if results.exists() else set()
    for epsilon, controller, seed in BARE[:1] + PRIVATE + BARE[1:]:
        name = f"{controller}-{epsilon or 'none'}-{seed}"
        if name in done:
            continue
        folder = out / name
        if controller == "non-private":
            promise = "--unsafe-non-private --learning-rate 0.005 --beta1 0.9"
        else:
            promise = f"--epsilon {epsilon} --delta 1e-5 " + flags(controller)
        if "--interval" not in promise:
            promise += " --interval 5"
        files = f"--model {demo}/model --train {train} --eval {demo}/eval.csv --seed {seed} --out {folder}"
        subprocess.run([rldp, "train", *f"{files} {COMMON} {promise}".split()], check=True, capture_output=True)
        words = f"audit {folder} --candidates 127 --bootstrap 200 --json"
        found = json.loads(subprocess.run([rldp, *words.split()], check=True, capture_output=True).stdout)
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        perplexity = [line["perplexity"] for line in metrics if line["kind"] == "eval"][-1]
        with results.open("a") as file:
            line = {"run": name, "epsilon": epsilon, "controller": controller, "perplexity": perplexity, "found": found}
            file.write(json.dumps(line) + "\n")


def score(scores, name, of=lambda entry: entry["auc"]):
    return of(next(entry for entry in scores if entry["score"] == name))


def spread(values):
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(out):
    lines = [json.loads(line) for line in (pathlib.Path(out) / "results.jsonl").read_text().splitlines()]
    groups = {}
    for line in lines:
        groups.setdefault((line["epsilon"] or math.inf, line["controller"]), []).append(line)
    print("| ε | method | runs | perplexity | AUC units | AUC canaries ×1 | ×4 | ×16 | TPR at 1 % FPR, ×16 | exposure ×16 | "
          "extracted ×16 | ε at least, units | ε at least, canaries ×1 |")
    print("|---" * 13 + "|")
    for (epsilon, controller), runs in sorted(groups.items()):
        found = [line["found"] for line in runs]
        group = lambda units: [next(g for g in f["canaries"]["groups"] if g["units"] == units) for f in found]
        auc = lambda units: spread([score(g["scores"], "loss") for g in group(units)])
        last = group(16)
        tpr = [score(g["scores"], "loss", lambda entry: entry["tpr_at_fpr"][1]["tpr"]) for g in last]
        extracted = sum(g["extracted"]["included"] for g in last)
        included = sum(g["one_run"]["included"] for g in last)
        cells = [
            "none" if epsilon == math.inf else epsilon,
            controller,
            len(runs),
            spread([line["perplexity"] for line in runs]),
            spread([score(f["membership"]["scores"], "loss") for f in found]),
            auc(1),
            auc(4),
            auc(16),
            spread(tpr),
            spread([g["exposure_included"]["mean"] for g in last]),
            f"{extracted} of {included}",
            max(f["membership"]["one_run"]["epsilon"] for f in found),
            max(g["one_run"]["epsilon"] for g in group(1)),
        ]
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) and cell != epsilon else str(cell) for cell in cells) + " |")
    private = [line for line in lines if line["epsilon"]]
    above = 0
    for line in private:
        ones = [g["one_run"] for g in line["found"]["canaries"]["groups"] if g["units"] == 1]
        above += any(run["epsilon"] > line["epsilon"] for run in [*ones, line["found"]["membership"]["one_run"]])
    print(f"\nBounds above the claim: {above} of {len(private)} private runs")


if __name__ == "__main__":
    {"run": run, "table": table}[sys.argv[1]](*sys.argv[2:])
