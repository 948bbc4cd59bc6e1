"""Recomputes the epsilon of a run's ledger with dp-accounting: python recompute.py RUN/ledger.jsonl (pip install dp-accounting)."""
import json
import sys

import dp_accounting
from dp_accounting.pld import PLDAccountant

lines = [json.loads(line) for line in open(sys.argv[1])]
claim = lines[0]["claim"]
assert claim["guarantee"] == "holds", "the run promises nothing"
assert claim["adjacency"] != "replace_one", "this script knows units that are added, removed or set to zero"
plan = claim["regime"].get("committed") or claim["regime"].get("deck")
if plan is None:
    sys.exit("the noise of this run was chosen on the way: its claim rests on a filter, not on a composition")
charges = [line for line in lines if line["kind"] == "charge"]
bands = claim.get("noise_bands", 1)
for number, charge in enumerate(charges, 1):
    assert charge["step"] == number <= claim["steps"], f"step {number} is out of order"
    assert charge["sampling_rate"] == claim["sampling_rate"], f"step {number} has another rate"
levels = plan.get("segments") or plan["cards"]
for event in levels:
    assert abs(event["sampling_rate"] / (claim["sampling_rate"] * bands) - 1) < 1e-12, "the plan samples at another rate"
planned = [event["noise_multiplier"] for event in levels for _ in range(event["steps"])]
for number, charge in enumerate(charges):
    allowed = planned if "cards" in plan else planned[number // bands :][:1]
    assert charge["noise_multiplier"] in allowed, f"step {number + 1} has other noise"
    if "cards" in plan:
        planned.remove(charge["noise_multiplier"])  # a card is played once
accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
for event in levels:
    step = dp_accounting.GaussianDpEvent(event["noise_multiplier"])
    step = dp_accounting.PoissonSampledDpEvent(event["sampling_rate"], step)
    accountant.compose(step, event["steps"])
epsilon = accountant.get_epsilon(claim["delta"] - claim["noise_delta"])
print(f"{len(charges)} steps; the whole plan costs {epsilon:.6f} at delta {claim['delta']}, claimed {claim['target_epsilon']}")
sys.exit(epsilon > 1.01 * claim["target_epsilon"])
