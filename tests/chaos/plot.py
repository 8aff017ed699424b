"""Draws the samples of a soak (watch.py) as SVG: memory, file descriptors and log behind over time."""

WIDTH, HEIGHT, LEFT, GAP = 900, 150, 70, 45
POINTS = 900  # more cannot be seen
PANELS = (("resident memory, MiB", lambda sample: sample[1] / (1 << 20)), ("file descriptors", lambda sample: sample[2]),
          ("log not applied yet, kB", lambda sample: (sample[3] or 0) / 1024))


def thinned(values):
    """The largest of each group: nothing that stands out is left out."""
    size = max(1, len(values) // POINTS)
    return [max(values[at:at + size], key=lambda point: point[1]) for at in range(0, len(values), size)]


def draw(file, samples):
    longest = samples[-1][0]
    parts = []
    for number, (title, value) in enumerate(PANELS):
        top = GAP + number * (HEIGHT + GAP)
        points = thinned([(sample[0], value(sample)) for sample in samples])
        highest = max(y for _, y in points) * 1.1 or 1
        line = " ".join(f"{LEFT + x / longest * WIDTH:.1f},{top + HEIGHT - y / highest * HEIGHT:.1f}" for x, y in points)
        parts.append(f'<text x="{LEFT}" y="{top - 8}">{title}</text>'
                     f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
                     f'<polyline points="{line}" fill="none" stroke="#06c"/>'
                     f'<text x="{LEFT - 8}" y="{top + 5}" text-anchor="end">{highest:.0f}</text>'
                     f'<text x="{LEFT - 8}" y="{top + HEIGHT}" text-anchor="end">0</text>')
    bottom = GAP + len(PANELS) * (HEIGHT + GAP)
    parts.append(f'<text x="{LEFT + WIDTH}" y="{bottom - 15}" text-anchor="end">{longest / 60:.0f} minutes</text>')
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{bottom}" '
                    f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n',
                    encoding="utf-8")
