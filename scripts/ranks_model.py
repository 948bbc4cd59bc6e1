#!/usr/bin/env python3
"""Draws how a step would scale to 64 ranks: computed from measured parts, not measured.

usage: ranks_model.py PARTS.json OUT.svg
A step on R ranks takes C/R to compute, h·log2(R) for the broadcast and for the sum, each of which goes through a tree whose hops take what
one between two ranks took, or what its bytes take on the network if that is more, and s for what rank 0 does alone (steer, update, write).
Noise is drawn by rank 0, n seconds: beside the computing, so that only what it takes longer than that is added; or after it, as before.
"""

import json
import math
import pathlib
import sys

RANKS = [1, 2, 4, 8, 16, 32, 64]
COLORS = ["#1f6fb2", "#c4501b", "#2f8f4e"]
WIDTH, HEIGHT, LEFT, TOP, SIDE = 940, 420, 62, 64, 320
GAP = 470
# Where the left picture has room for its key.
LOW = {"right": 110, "down": 238}


def parts_of(step, ranks, bandwidth):
    """Seconds of each part of a step."""
    hops = math.ceil(math.log2(ranks)) if ranks > 1 else 0
    bytes_sum, bytes_sent = 8 * step["parameters"], 4 * step["parameters"]
    return {
        "compute": step["compute"] / ranks,
        "sum": hops * max(step["sum"], bytes_sum / bandwidth),
        "broadcast": hops * max(step["broadcast"], bytes_sent / bandwidth),
        "noise": step["noise"],
        "alone": step["alone"],
    }


def total(parts, beside):
    noise = max(0.0, parts["noise"] - parts["compute"]) if beside else parts["noise"]
    return parts["compute"] + parts["sum"] + parts["broadcast"] + parts["alone"] + noise


def speedups(step, bandwidth, beside):
    one = total(parts_of(step, 1, bandwidth), beside)
    return [one / total(parts_of(step, ranks, bandwidth), beside) for ranks in RANKS]


def place(value, low, high, start, length, down=False):
    at = (math.log2(value) - math.log2(low)) / (math.log2(high) - math.log2(low))
    return start + length * (1 - at if down else at)


class Panel:
    """Logarithmic axes."""

    def __init__(self, x, title, low, high, ticks):
        self.x, self.low, self.high, self.out = x, low, high, []
        self.text(x, TOP - 14, title, size=13, anchor="start", weight="bold")
        for ranks in RANKS:
            at = self.across(ranks)
            self.line([(at, TOP), (at, TOP + SIDE)], "#e4e4e4", 1)
            self.text(at, TOP + SIDE + 18, str(ranks))
        for value, name in ticks:
            at = self.up(value)
            self.line([(x, at), (x + 380, at)], "#e4e4e4", 1)
            self.text(x - 8, at + 4, name, anchor="end")
        self.text(x + 190, TOP + SIDE + 34, "ranks")

    def across(self, ranks):
        return place(ranks, 1, 64, self.x, 380)

    def up(self, value):
        return place(min(max(value, self.low), self.high), self.low, self.high, TOP, SIDE, down=True)

    def line(self, points, color, width=2, dash=""):
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.out.append(f'<polyline points="{text}" fill="none" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dash}"/>')

    def curve(self, values, color, dash=""):
        self.line([(self.across(ranks), self.up(value)) for ranks, value in zip(RANKS, values)], color, dash=dash)

    def text(self, x, y, words, size=11, anchor="middle", color="#222", weight="normal"):
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}" font-weight="{weight}">{words}</text>')

    def key(self, row, words, color, dash="", right=10, down=14):
        x, y = self.x + right, TOP + down + 16 * row
        self.line([(x, y - 4), (x + 28, y - 4)], color, dash=dash)
        self.text(x + 34, y, words, anchor="start")


def of_parts(step, bandwidth):
    """Where the time of one step goes."""
    panel = Panel(LEFT, f"Seconds of a step: {step['name']}", 2**-10, 2**6, [(4.0**k, f"{4.0**k:g}" if k >= 0 else f"1/{4**-k}") for k in range(-5, 4)])
    split = [parts_of(step, ranks, bandwidth) for ranks in RANKS]
    names = [("compute", "compute", COLORS[0], ""), ("sum", "sum to rank 0", COLORS[1], ""), ("broadcast", "broadcast", COLORS[1], "2 3")]
    names += [("noise", "noise, drawn beside the computing", COLORS[2], ""), ("alone", "rank 0 alone", COLORS[2], "2 3")]
    for name, words, color, dash in names:
        panel.curve([parts[name] for parts in split], color, dash)
    panel.curve([total(parts, True) for parts in split], "#111")
    for row, (_, words, color, dash) in enumerate(names):
        panel.key(row, words, color, dash, **LOW)
    panel.key(len(names), "the step", "#111", **LOW)
    return panel.out


def of_speedups(steps, bandwidth):
    """How much faster than one rank."""
    panel = Panel(LEFT + GAP, "Times as fast as one rank", 1, 64, [(2**k, str(2**k)) for k in range(7)])
    panel.curve(RANKS, "#bbb")
    panel.key(0, "ideal", "#bbb")
    for row, (step, color) in enumerate(zip(steps, COLORS)):
        panel.curve(speedups(step, bandwidth, True), color)
        panel.curve(speedups(step, bandwidth, False), color, "3 4")
        panel.key(row + 1, step["name"], color)
    panel.key(len(steps) + 1, "dashed: noise drawn after the sum, as before", "#666", "3 4")
    return panel.out


def main():
    parts, out = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
    bandwidth, steps = parts["network_bytes_per_second"], parts["steps"]
    note = f"Computed from parts measured on one machine and a network of {8 * bandwidth / 1e9:g} Gbit/s, not measured. Commands: docs/results/many.md"
    body = of_parts(steps[0], bandwidth) + of_speedups(steps, bandwidth)
    body.append(f'<text x="{LEFT}" y="24" font-size="13" fill="#a00">{note}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + 20}" font-family="sans-serif">'
    out.write_text("\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT + 20}" fill="white"/>', *body, "</svg>"]) + "\n")
    for step in steps:
        beside, after = speedups(step, bandwidth, True), speedups(step, bandwidth, False)
        print(f"{step['name']}: " + ", ".join(f"{ranks} ranks {a:.1f} ({b:.1f})" for ranks, a, b in zip(RANKS, beside, after)))


if __name__ == "__main__":
    main()
