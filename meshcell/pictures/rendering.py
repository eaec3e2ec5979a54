"""The stage that three-dimensional pictures are rendered on, and the trial whether this machine can render at all."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("meshcell")

# Rendered by a child process, because VTK ends the process that has no OpenGL to render with.
PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
window.AddRenderer(vtkRenderer())
window.Render()
print("rendered", window.GetClassName())
"""


def require_renderer() -> None:
    """Raise a RuntimeError where a picture cannot be rendered, instead of letting VTK end the process.

    Raises
    ------
    RuntimeError
        Names the packages that a bare Debian or Ubuntu lacks.
    """
    fault, _ = trial_rendering()
    if fault:
        raise RuntimeError(
            "3D pictures need OpenGL, which off-screen means EGL or OSMesa; a trial in a child process failed "
            f"({fault}); on Debian or Ubuntu: apt-get install --no-install-recommends libgl1 libegl1"
        )


def _render_window() -> str:
    return trial_rendering()[1]


@functools.cache
def trial_rendering() -> tuple[str, str]:
    """Render once in a child process; return what went wrong ("" if nothing) and the VTK window class that worked."""
    if not sys.platform.startswith("linux") or not sys.executable:
        return "", ""
    try:
        child = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "it took longer than 120 s", ""
    said = child.stdout.split()
    if child.returncode == 0 and "rendered" in said:
        return "", said[-1]
    # VTK colours its lines and begins them with time, thread and place, up to a bar.
    complaint = (
        re.sub(r"\x1b\[\d*m", "", (child.stderr.strip().splitlines() or ["no message"])[-1]).split("|")[-1].strip()
    )
    return f"exit code {child.returncode}: {complaint[:200]}", ""


def stage(size: tuple[int, int], *, off_screen: bool) -> Any:
    """Make an empty white scene with soft light, in parallel projection so that lengths can be compared."""
    require_renderer()
    import pyvista

    with _window_class(off_screen):
        plotter = pyvista.Plotter(off_screen=off_screen or _no_display(), window_size=list(size), lighting="none")
    plotter.set_background("white")
    # Supersampling, as depth peeling (true translucency) does not go with multisampling.
    plotter.enable_anti_aliasing("ssaa")
    plotter.enable_depth_peeling(number_of_peels=6)
    plotter.enable_parallel_projection()
    # Light comes from over the reader's left shoulder, and enough from the eye that nothing is black.
    for position, intensity in (((0, 0, 1), 0.55), ((-1.0, 1.4, 1.6), 0.5)):
        light = pyvista.Light(position=position, light_type="camera light", intensity=intensity)
        plotter.add_light(light)
    return plotter


def _no_display() -> bool:
    named = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform.startswith("linux") and not named


@contextlib.contextmanager
def _window_class(off_screen: bool) -> Iterator[None]:
    """Let VTK render by EGL where there is no display: it would try the X server first, and complain aloud."""
    key = "VTK_DEFAULT_OPENGL_WINDOW"
    if not _no_display() or key in os.environ or _render_window() == "":
        yield
        return
    os.environ[key] = _render_window()
    try:
        yield
    finally:
        del os.environ[key]
