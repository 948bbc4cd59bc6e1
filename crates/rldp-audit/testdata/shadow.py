"""RMIA and LiRA on random log-probabilities, by the formulas of the papers and Python's standard library only.

    python3 shadow.py > shadow.json
"""

import json
import math
import random
import statistics


def logit(log_prob):
    return log_prob - math.log1p(-math.exp(log_prob))


def fill(ins, outs, value):
    """Mean of both sides of every record; a missing side is the other one, moved by the mean difference."""
    mean = lambda xs: statistics.fmean(map(value, xs)) if xs else None
    pairs = [(mean(a), mean(b)) for a, b in zip(ins, outs)]
    shift = statistics.fmean(a - b for a, b in pairs if a is not None and b is not None)
    return [(b + shift if a is None else a, a - shift if b is None else b) for a, b in pairs]


def lira(target, ins, outs):
    means = fill(ins, outs, logit)

    def deviation(side, which):
        squares = [(logit(x) - means[i][which]) ** 2 for i, xs in enumerate(side) for x in xs]
        return math.sqrt(statistics.fmean(squares))

    fit_in, fit_out = deviation(ins, 0), deviation(outs, 1)
    online, offline = [], []
    for x, (a, b) in zip(map(logit, target), means):
        dist = statistics.NormalDist
        online.append(math.log(dist(a, fit_in).pdf(x) / dist(b, fit_out).pdf(x)))
        offline.append(dist(b, fit_out).cdf(x))
    return online, offline


def rmia(target, ins, outs, a=1.0, gamma=1.0):
    means = fill(ins, outs, math.exp)

    def scores(marginals):
        ratios = [math.exp(x) / p for x, p in zip(target, marginals)]
        beats = lambda i: [ratios[i] / ratios[z] >= gamma for z in range(len(ratios)) if z != i]
        return [statistics.fmean(beats(i)) for i in range(len(ratios))]

    online = scores([(p_in + p_out) / 2 for p_in, p_out in means])
    offline = scores([((1 + a) * p_out + (1 - a)) / 2 for _, p_out in means])
    return online, offline


rng = random.Random(11)
N, S = 14, 4
difficulty = [rng.uniform(-3, -0.3) for _ in range(N)]
draw = lambda i, member: min(-0.01, difficulty[i] + (0.2 if member else 0.0) + rng.gauss(0, 0.05))
coins = [[rng.random() < 0.5 for _ in range(N)] for _ in range(S)]
# A record without an in-model and one without an out-model.
for s in range(S):
    coins[s][0], coins[s][1] = False, True
shadows = [[draw(i, coins[s][i]) for i in range(N)] for s in range(S)]
target = [draw(i, i % 2 == 0) for i in range(N)]
side = lambda wanted: [[shadows[s][i] for s in range(S) if coins[s][i] == wanted] for i in range(N)]
ins, outs = side(True), side(False)
lira_online, lira_offline = lira(target, ins, outs)
rmia_online, rmia_offline = rmia(target, ins, outs)
print(json.dumps({
    "target": target, "shadows": shadows, "coins": coins,
    "lira_online": lira_online, "lira_offline": lira_offline,
    "rmia_online": rmia_online, "rmia_offline": rmia_offline,
}))
