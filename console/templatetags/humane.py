"""Format numbers for people."""

from __future__ import annotations

from django import template

register = template.Library()


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
