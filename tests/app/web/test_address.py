"""The address of a server: its checks, its names, and the link that is printed."""

import importlib.util

import pytest

from hare_jax.app.web import address


@pytest.mark.parametrize(
    ("host", "names", "expected"),
    [
        ("127.0.0.1", (), "http://127.0.0.1:8000/"),
        ("::1", (), "http://[::1]:8000/"),
        ("0.0.0.0", (), "http://localhost:8000/"),
        ("", (), "http://localhost:8000/"),
        ("::", ("study.example.org", "other"), "http://study.example.org:8000/"),
    ],
)
def test_the_link_is_one_that_the_server_answers(host, names, expected):
    assert address.link(host, 8000, names) == expected
    assert expected.removeprefix("http://").removesuffix(":8000/") in address.hosts_of(host, names)


@pytest.mark.parametrize("port", [0, 65536])
def test_ports(port):
    with pytest.raises(ValueError, match=f"port: must be from 1 to 65535; got {port}"):
        address.check("serve", port)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"serve needs starlette, uvicorn, jinja2: pip install 'hare-jax\[web\]'"):
        address.check("serve", 8000)
