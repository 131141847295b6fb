"""Format numbers, times and long texts for people."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from somamemory.times import rfc3339

register = template.Library()


@register.filter
def shortened(text: str, length: int) -> str:
    """Return at most `length` characters of a text.

    Django's `truncatechars` normalises the whole text first, which takes quadratic time for a run of combining marks.
    """
    return text if len(text) <= length else text[: length - 1] + "…"


@register.filter
def thousands(number: float) -> str:
    return f"{number:,}"


@register.filter
def milliseconds(number: float) -> str:
    if number >= 1000:
        return f"{number / 1000:.1f} s"
    if number < 0.1:
        return "< 0.1 ms"
    return f"{number:.0f} ms" if number >= 10 else f"{number:.1f} ms"


@register.filter
def duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0, seconds):.0f} s"


@register.filter
def clock(time: datetime) -> SafeString:
    """Show a time of day in UTC. The page's script converts it to the reader's time zone."""
    shown = f"{time.astimezone(UTC):%H:%M}"
    return format_html('<time datetime="{}" title="{} UTC" data-clock>{} UTC</time>', rfc3339(time), shown, shown)


@register.filter
def moment(time: datetime | None) -> SafeString | str:
    """Show a time in UTC. The page's script converts it to the reader's time zone."""
    if time is None:
        return "—"
    shown = f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return format_html('<time datetime="{}" title="{} UTC">{} UTC</time>', rfc3339(time), shown, shown[:-3])
