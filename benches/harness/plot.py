"""The plot of doc/benchmarks.md: bars of bulk throughput, drawn as SVG from the readings."""

LEFT, WIDTH, ROW, GAP, TOP = 130, 520, 16, 10, 34
COLOURS = {"down MB/s": "#2a6f97", "up MB/s": "#e09f3e"}
GROUPS = (
    ("client gcm", "clients on sshd, aes128-gcm"),
    ("server gcm", "servers driven by ssh, aes128-gcm"),
    ("pair gcm", "one library at both ends, aes128-gcm"),
    ("pair chacha", "one library at both ends, chacha20-poly1305"),
)


def bulk(readings):
    groups = [(part, title) for part, title in GROUPS if part in readings.all]
    values = [
        readings.median(part, subject, quantity) or 0
        for part, _ in groups
        for subject in readings.all[part]
        for quantity in COLOURS
    ]
    scale = WIDTH / max(values)
    y, body = TOP, []
    for part, title in groups:
        body.append(f'<text x="8" y="{y + 12}" font-weight="bold">{title}</text>')
        y += ROW + 8
        for subject in readings.all[part]:
            body.append(f'<text x="{LEFT - 8}" y="{y + ROW}" text-anchor="end">{subject}</text>')
            for quantity, colour in COLOURS.items():
                value = readings.median(part, subject, quantity) or 0
                body.append(f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{ROW - 3}" fill="{colour}"/>')
                body.append(f'<text x="{LEFT + value * scale + 5:.1f}" y="{y + 11}" fill="#555">{value:,.0f}</text>')
                y += ROW
            y += GAP
        y += GAP
    legend = "".join(
        f'<rect x="{LEFT + 90 * index}" y="8" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 90 * index + 17}" y="18">{quantity}</text>'
        for index, (quantity, colour) in enumerate(COLOURS.items())
    )
    size = f'width="{LEFT + WIDTH + 70}" height="{y}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#222">'
        f'<rect width="100%" height="100%" fill="white"/>{legend}{"".join(body)}</svg>\n'
    )
