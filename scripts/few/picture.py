#!/usr/bin/env python3
"""Regret against noise per step, as SVG (standard library only).

usage: picture.py FOUND_ON.jsonl TESTED_ON.jsonl > docs/results/few/regret.svg

A mark a task: to the right there is more noise in a step (1/s as rule.py takes s), upwards perplexity over the best rate in hindsight. Grey:
1.6/(alpha sqrt T); filled: the default; lines join the two. Circles are tasks on which the rule was found, squares held-out ones.
"""

import math
import sys

import rule

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 360, 56, 44, 24


def main():
    groups = [("found", rule.read(sys.argv[1])), ("held out", rule.read(sys.argv[2]))]
    noise = [1 / task.bound for _, tasks in groups for task in tasks]
    low, high = math.log(min(noise) / 1.2), math.log(max(noise) * 1.2)
    regrets = [regret for _, tasks in groups for task in tasks for regret in (task.regret(0.0), task.over(task.follows))]
    most = 5 * math.ceil(max(regrets) / 5) + 5
    x = lambda value: LEFT + (math.log(value) - low) / (high - low) * (WIDTH - LEFT - 16)
    y = lambda value: HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">']
    out.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for level in range(0, most + 1, 5):
        out.append(f'<path d="M{LEFT} {y(level):.1f}H{WIDTH - 16}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">{level} %</text>')
    for signal in (10, 20, 50, 100, 200, 400):
        if low <= math.log(1 / signal) <= high:
            out.append(f'<text x="{x(1 / signal):.1f}" y="{HEIGHT - 24}" text-anchor="middle">1/{signal}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">noise of a step over its largest signal, 1/s</text>')
    out.append(f'<text x="{LEFT + 8}" y="{TOP - 10}">perplexity over the best rate in hindsight; grey: 1.6/(α√T), filled: the default; circles: found on, squares: held out</text>')
    for name, tasks in groups:
        for task in tasks:
            place, before, after = x(1 / task.bound), y(task.regret(0.0)), y(max(task.over(task.follows), 0.0))
            out.append(f'<path d="M{place:.1f} {before:.1f}V{after:.1f}" stroke="#bbb"/>')
            for height, fill in ((before, "#ccc"), (after, "#246")):
                if name == "found":
                    out.append(f'<circle cx="{place:.1f}" cy="{height:.1f}" r="4" fill="{fill}"/>')
                else:
                    out.append(f'<rect x="{place - 4:.1f}" y="{height - 4:.1f}" width="8" height="8" fill="{fill}"/>')
    print("\n".join([*out, "</svg>"]))


if __name__ == "__main__":
    main()
