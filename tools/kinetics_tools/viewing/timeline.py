"""Picture of the frames that a sampler takes of a clip, as SVG."""

from html import escape

import numpy as np
import numpy.typing as npt

_WIDTH, _LEFT, _ROW = 900, 20, 22


def timeline(num_frames: int, fps: float, indices: npt.NDArray[np.int64]) -> str:
    """Return an SVG element: the clip as a line with a tick per second, and a row of marks for each sampled clip.

    Args:
        num_frames: number of frames of the clip.
        fps: frames per second.
        indices: (T,) or (N, T), the frames that are taken.
    """
    rows = list(np.atleast_2d(indices))
    height = 30 + _ROW * max(len(rows), 1)

    def x(frame: float) -> float:
        return _LEFT + (_WIDTH - 2 * _LEFT) * frame / max(num_frames, 1)

    parts = []
    for second in range(int(num_frames / fps) + 1 if fps else 1):
        at = x(second * fps)
        parts.append(f'<path d="M{at:.1f} 18V{height - 4}" stroke="#d5dbe3"/>')
        parts.append(f'<text x="{at:.1f}" y="12" font-size="11" fill="#5b6775" text-anchor="middle">{second} s</text>')
    for number, row in enumerate(rows):
        top = 22 + _ROW * number
        parts.append(f'<path d="M{x(0):.1f} {top + 8}H{x(num_frames):.1f}" stroke="#8b97a5"/>')
        width = max(x(1) - x(0), 2)
        parts += [
            f'<rect x="{x(frame):.1f}" y="{top}" width="{width:.1f}" height="16" fill="#1f6feb">'
            f"<title>frame {frame}, {frame / fps if fps else 0:.2f} s</title></rect>"
            for frame in row.tolist()
        ]
    label = escape(f"{rows[0].size if rows else 0} of {num_frames} frames in each of {len(rows)} clips")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" style="width:100%;min-width:640px" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
