"""What the charts of the benchmarks share: the page, the frame of a plot, and the names of its axes."""


def page(title, width, height, parts):
    """A whole SVG file.

    Args:
        title: Read out to those who don't see it.
        width: Pixels.
        height: Pixels.
        parts: SVG, drawn in this order.
    """
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return (
        f'{head} font-family="sans-serif" font-size="13" role="img">\n<title>{title}</title>\n{background}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def frame(left, top, width, height):
    return f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>'


def axis_names(left, top, width, height, across, up):
    """The names below and beside a frame."""
    middle = top + height / 2
    return [
        f'<text x="{left + width / 2}" y="{top + height + 42}" text-anchor="middle">{across}</text>',
        f'<text transform="rotate(-90 18 {middle})" x="18" y="{middle}" text-anchor="middle">{up}</text>',
    ]
