"""Rényi divergence of the Poisson-subsampled Gaussian at many orders, by mpmath: writes rdp_mpmath.csv.

Integer orders take the finite binomial sum. Fractional orders take quadrature of (1 + u)^order - 1 - order u against
the normal density, split at every point where the integrand may turn, with 40 digits. Run: python generate_rdp.py
"""

import random

from mpmath import binomial, exp, expm1, log, log1p, mp, mpf, pi, quad, sqrt

mp.dps = 40


def integer_order(q, z, order):
    terms = (
        binomial(order, k) * (1 - q) ** (order - k) * q**k * expm1(mpf(k * (k - 1)) / (2 * z * z))
        for k in range(2, order + 1)
    )
    return log1p(sum(terms)) / (order - 1)


def fractional_order(q, z, order):
    def integrand(x):
        u = q * expm1((2 * x - 1) / (2 * z * z))
        return exp(-x * x / (2 * z * z)) * ((1 + u) ** order - 1 - order * u)

    turn = z * z * log((1 - q) / q) + mpf(1) / 2 if q < 1 else mpf(0)
    reach = 18 * z
    points = sorted(
        {-reach, mpf(0), mpf(1), turn, order + reach}
        | {center + step * z for center in (mpf(0), mpf(1), turn, order) for step in (-8, -4, -2, -1, 1, 2, 4, 8)}
    )
    points = [p for p in points if -reach <= p <= order + reach]
    return log1p(quad(integrand, points) / (z * sqrt(2 * pi))) / (order - 1)


def rdp(q, z, order):
    q, z, order = mpf(q), mpf(z), mpf(order)
    if q == 1:
        return order / (2 * z * z)
    if order == int(order):
        return integer_order(q, z, int(order))
    return fractional_order(q, z, order)


def main():
    random.seed(20260101)
    rates = ["1e-6", "0.0001", "0.001", "0.01", "0.05", "0.2", "0.5", "0.9", "0.999", "1"]
    noises = ["0.1", "0.2", "0.3", "0.5", "0.8", "1", "2", "4", "10", "50"]
    orders = ["1.001", "1.03", "1.3", "1.75", "2", "2.5", "3.3", "5", "7.7", "12", "19.5", "33", "64.25", "128", "181.27", "300.5", "1000.5"]
    cases = [(random.choice(rates), random.choice(noises), random.choice(orders)) for _ in range(260)]
    cases += [("0.01", "4", order) for order in ("100.5", "150.5", "181.27", "190", "190.5", "200.5", "250.5", "300")]
    with open("rdp_mpmath.csv", "w") as out:
        out.write("q,z,order,rdp\n")
        for q, z, order in sorted(set(cases), key=lambda case: tuple(map(float, case))):
            out.write(f"{q},{z},{order},{mp.nstr(rdp(q, z, order), 17)}\n")


if __name__ == "__main__":
    main()
