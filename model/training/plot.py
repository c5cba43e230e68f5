"""Draws the loss curve of train.py as an SVG.

    plot.py --loss WORK/loss.csv --out loss.svg [--int4-from 0.7]
"""
import argparse
import csv
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 340, 50, 20, 20, 45
SEEN, HELD, GREY = "#1f6f8b", "#c8553d", "#888888"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loss", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--int4-from", type=float, default=0.7)
    a = p.parse_args()
    rows = list(csv.DictReader(a.loss.open()))
    seen = [(float(r["minutes"]), float(r["loss"])) for r in rows]
    held = [(float(r["minutes"]), float(r["held_out"])) for r in rows if r["held_out"]]
    last = max(m for m, _ in seen)
    top = max(v for _, v in seen + held) * 1.05

    def x(minute):
        return LEFT + (WIDTH - LEFT - RIGHT) * minute / last

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    def text(at_x, at_y, words, colour=GREY, anchor="middle"):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" fill="{colour}" text-anchor="{anchor}">{words}</text>'

    def line(points, colour):
        path = " ".join(f"{x(m):.1f},{y(v):.1f}" for m, v in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             f'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    unit = 0.5 if top > 1.5 else 0.25
    for i in range(int(top / unit) + 1):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(i * unit):.1f}" y2="{y(i * unit):.1f}" '
                     f'stroke="#e4e4e4"/>' + text(LEFT - 8, y(i * unit) + 4, f"{i * unit:g}", anchor="end"))
    for minute in range(0, int(last) + 1, max(1, int(last / 7 / 5) * 5)):
        parts.append(text(x(minute), HEIGHT - BOTTOM + 18, str(minute)))
    start = last * a.int4_from
    parts += [f'<line x1="{x(start):.1f}" x2="{x(start):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{GREY}" '
              f'stroke-dasharray="4 4"/>', text(x(start) - 6, TOP + 12, "int4 experts from here", anchor="end"),
              text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 8, "minutes of training; loss in nats an answer token"),
              line(seen, SEEN)]
    parts.append(text(x(seen[-1][0]) - 6, y(seen[-1][1]) - 10, "seen words", SEEN, "end"))
    if held:
        parts += [line(held, HELD), text(x(held[-1][0]) - 6, y(held[-1][1]) + 18, "held-out words", HELD, "end")]
    a.out.write_text("\n".join([*parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
