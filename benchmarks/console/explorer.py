"""Measure the explorer: the time until the map is drawn, and the frames per second while it is dragged and zoomed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testing.browser import Browser

SECONDS = 4
TIMEOUT_S = 180
# Sends an event to the canvas in each frame, and measures the frames and the time that their scripts take.
_MOVE = """
const [kind, seconds, done] = arguments;
const canvas = document.getElementById('canvas'), area = canvas.getBoundingClientRect(), times = [];
const at = (step) => ({
    clientX: area.left + area.width / 2 + Math.sin(step / 20) * 150, clientY: area.top + area.height / 2, bubbles: true,
});
if (kind === 'drag') canvas.dispatchEvent(new PointerEvent('pointerdown', at(0)));
let step = 0;
const frame = (now) => {
    times.push(now);
    if (now - times[0] >= seconds * 1000) {
        window.dispatchEvent(new PointerEvent('pointerup', at(step)));
        return done(times);
    }
    step += 1;
    canvas.dispatchEvent(kind === 'drag' ? new PointerEvent('pointermove', at(step))
        : new WheelEvent('wheel', {...at(step), deltaY: Math.floor(step / 30) % 2 ? 1 : -1, cancelable: true}));
    requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


@dataclass
class Frames:
    """The frames that were drawn while the map moved.

    per_s: how many Chromium drew per second; it draws at most 60
    slowest_ms: the 95th percentile of the time between two frames
    cpu_ms: the CPU time of the page's main thread per frame, which depends less on the machine's load
    """

    kind: str
    per_s: float
    slowest_ms: float
    cpu_ms: float


def frames(browser: Browser, kind: str) -> Frames:
    """Move the map for a few seconds. kind: "drag" or "zoom"."""
    before_s = _main_thread_s(browser)
    times: list[float] = browser.driver.execute_async_script(_MOVE, kind, SECONDS)
    cpu_ms = 1000 * (_main_thread_s(browser) - before_s) / len(times)
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    per_s = 1000 * len(gaps) / (times[-1] - times[0])
    return Frames(kind, per_s, gaps[int(0.95 * len(gaps))], cpu_ms)


def _main_thread_s(browser: Browser) -> float:
    browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def measure(browser: Browser, tenant: str, namespace: str) -> None:
    """Print the figures for one namespace."""
    drawn = "!!document.getElementById('explorer').dataset.total"
    visit = browser.visit("explorer", f"/admin/explorer/?tenant={tenant}&namespace={namespace}", drawn, TIMEOUT_S)
    status = browser.run("return document.getElementById('status').textContent")
    print(f"{status}: page painted after {visit.painted_s:.2f} s, map drawn after {visit.ready_s:.2f} s")
    for kind in ("drag", "zoom"):
        moved = frames(browser, kind)
        print(
            f"{kind}: {moved.per_s:.1f} frames per second, 95% of them after {moved.slowest_ms:.1f} ms or less, "
            f"{moved.cpu_ms:.1f} ms of CPU time each"
        )
    heap = browser.run("return performance.memory.usedJSHeapSize")
    print(f"memory of the page's scripts: {heap / 1e6:.0f} MB")
