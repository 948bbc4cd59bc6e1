"""Epsilon of many steps at tiny sampling rates, by the characteristic function of the loss: writes sparse_mpmath.csv.

delta(eps) is the integral over w of M(s)^T exp(-s eps) / (s (1 + s)) / 2 pi at s = theta + i w, with M(s) = E exp(s L) of one step.
M - 1 is integrated over x in double precision without cancellation (the terms that integrate to zero are taken off); mpmath
checks it at a few s with 20 digits. dp_accounting's values are printed beside: its upper bounds, up to the rounding of its tail
masses, which for the first plan brings it 2 % below. Run: python generate_sparse.py
"""

import math

import numpy as np
from dp_accounting.pld import privacy_loss_distribution
from mpmath import exp as mexp, log1p as mlog1p, mp, mpc, mpf, pi, quad, sqrt

PLANS = [
    (1e-7, 0.5, 1_000_000, 1e-10),
    (1e-6, 0.5, 1_000_000, 1e-10),
    (1e-6, 1.0, 100_000, 1e-8),
    (1e-6, 1.0, 1_000_000, 1e-9),
    (1e-7, 1.0, 1_000_000, 1e-12),
]
LADDER, WEIGHTS = np.polynomial.legendre.leggauss(16)


def tail(x):
    """1 - Phi(x)."""
    return 0.5 * math.erfc(x / math.sqrt(2))


def top(q, z, mass):
    """The x above which the mixture has this mass: it is left out, a millionth of delta over all steps."""
    low, high = 0.0, 1 + 40 * z
    for _ in range(100):
        x = (low + high) / 2
        if q * tail((x - 1) / z) + (1 - q) * tail(x / z) > mass:
            low = x
        else:
            high = x
    return high


def nodes(q, z, end, frequency):
    """Points of x up to `end` and their weights under N(0, z^2): Gauss-Legendre panels over which no phase grows beyond 8."""
    edges = [-14 * z]
    while edges[-1] < end:
        ratio = q * math.exp((edges[-1] + z / 8 - 0.5) / (z * z))
        edges.append(edges[-1] + min(z / 8, 8 / (frequency * ratio / (1 - q + ratio) / (z * z) + 1e-9)))
    edges = np.minimum(np.array(edges), end)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * LADDER).ravel()
    weight = (half[:, None] * WEIGHTS).ravel()
    return x, np.exp(-x * x / (2 * z * z)) * weight / (z * math.sqrt(2 * math.pi))


def excess(q, z, end, powers):
    """E[(1 + u)^a - 1 - a u] under N up to `end`, for an array of complex powers a."""
    x, weight = nodes(q, z, end, max(abs(a.imag) for a in powers))
    u = q * np.expm1((x - 0.5) / (z * z))
    loss = np.log1p(u)
    out = np.empty(len(powers), dtype=complex)
    for i, a in enumerate(powers):
        small = np.abs((1 + abs(a)) * u) < 1e-3
        b = np.where(small, u, 0)
        series = a * (a - 1) / 2 * b**2 * (1 + (a - 2) / 3 * b * (1 + (a - 3) / 4 * b * (1 + (a - 4) / 5 * b * (1 + (a - 5) / 6 * b))))
        whole = np.exp(np.where(small, 0, a * loss)) - 1 - a * np.where(small, 0, u)
        out[i] = np.sum(weight * np.where(small, series, whole))
    return out


def check(q, z, end, a):
    """The same by mpmath, for one power."""
    mp.dps = 20
    q, z, a = mpf(q), mpf(z), mpc(a)

    def integrand(x):
        u = q * (mexp((x - mpf(1) / 2) / (z * z)) - 1)
        return mexp(-x * x / (2 * z * z)) * (mexp(a * mlog1p(u)) - 1 - a * u)

    points = [k * z / 32 for k in range(-448, 640) if k * z / 32 < end] + [end]
    return complex(quad(integrand, points, method="gauss-legendre", maxdegree=3) / (z * sqrt(2 * pi)))


def delta_curve(q, z, end, steps, add, theta, deviation, around):
    """The function delta(eps) of one direction, tilted by theta."""
    power = (lambda s: -s) if add else (lambda s: 1 + s)
    edges, last = [0.0], 9 / deviation
    while edges[-1] < last:
        edges.append(edges[-1] + max(0.25, min(edges[-1] / 20, 0.3 / deviation, 8 / around)))
    edges = np.array(edges)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    omega = (middle[:, None] + half[:, None] * LADDER).ravel()
    weight = (half[:, None] * WEIGHTS).ravel()
    s = theta + 1j * omega
    log_moment = steps * np.log1p(excess(q, z, end, power(s)))
    return lambda eps: np.sum(weight * (np.exp(log_moment - s * eps) / (s * (1 + s))).real) / math.pi


def epsilon(q, z, steps, delta):
    """The larger epsilon of both directions."""
    end = top(q, z, 1e-6 * delta / steps)
    x, weight = nodes(q, z, end, 0.0)
    u = q * np.expm1((x - 0.5) / (z * z))
    deviation = math.sqrt(steps * np.sum(weight * np.minimum(u * u, 2 * (u - np.log1p(u)))))
    best = 0.0
    for add in [False, True]:
        power = (lambda s: -s) if add else (lambda s: 1 + s)
        cumulant = lambda theta: steps * np.log1p(excess(q, z, end, [power(theta + 0j)])[0].real)
        found, low, high = None, deviation * 1e-3, 20.0
        for _ in range(6):  # the tilt follows epsilon
            middle = found or math.sqrt(low * high)
            thetas = np.exp(np.linspace(math.log(0.5), math.log(2e5), 120))
            usable = [t for t in thetas if abs(cumulant(t)) < 5]
            theta = min(usable, key=lambda t: cumulant(t) - t * middle)
            curve = delta_curve(q, z, end, steps, add, theta, deviation, middle)
            below, above = low, high
            for _ in range(80):
                eps = math.sqrt(below * above)
                if curve(eps) > delta:
                    below = eps
                else:
                    above = eps
            if found and abs(above / found - 1) < 1e-7:
                break
            found = above
        best = max(best, found)
    return best


def main():
    """All plans."""
    np.seterr(all="ignore")
    for q, z, end, a in [(1e-7, 0.5, 4.5, 31 + 0j), (1e-7, 0.5, 4.5, 31 + 900j), (1e-6, 1.0, 8.0, -40 + 5000j)]:
        ours, theirs = excess(q, z, end, [a])[0], check(q, z, end, a)
        assert abs(ours / theirs - 1) < 1e-9, (q, z, a, ours, theirs)
    rows = ["sampling_rate,noise_multiplier,steps,delta,epsilon"]
    for q, z, steps, delta in PLANS:
        found = epsilon(q, z, steps, delta)
        pld = privacy_loss_distribution.from_gaussian_mechanism(
            z, sampling_prob=q, value_discretization_interval=1e-4, use_connect_dots=True
        )
        google = pld.self_compose(steps).get_epsilon_for_delta(delta)
        print(q, z, steps, delta, found, "dp_accounting", google, flush=True)
        rows.append(f"{q!r},{z!r},{steps},{delta!r},{found!r}")
    with open("sparse_mpmath.csv", "w", encoding="utf-8") as out:
        out.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
