"""The address at which programs on the machine reach the server."""

from __future__ import annotations

import pytest

from somamemory import server_address


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9595"),
        ("memory.example.org", "http://memory.example.org:9595"),
        ("0.0.0.0", "http://127.0.0.1:9595"),
        ("::1", "http://[::1]:9595"),
        ("::", "http://[::1]:9595"),
    ],
)
def test_the_url_of_a_server_on_this_machine(host: str, url: str) -> None:
    assert server_address.local_url(host, 9595) == url
