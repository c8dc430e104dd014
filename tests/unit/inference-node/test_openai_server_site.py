"""Which address, which key: what an operator may say, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra_errors import InvalidRequest
from orchestra_inference_node.adapters.engines import check_options
from orchestra_inference_node.adapters.openai_server.entry import ENTRY
from orchestra_inference_node.adapters.openai_server.site import Site


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("https://[::1]:8000/v1/", "https://[::1]:8000"),
    ],
)
def test_an_address_may_end_with_v1(path: str, url: str) -> None:
    assert Site.read(path, {}).url == url


@pytest.mark.parametrize(
    "path",
    [
        "/models/a.gguf",
        "ftp://127.0.0.1",
        "unix:///tmp/socket",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8080/v2",
        "http://127.0.0.1:8080/v1?key=1",
        "http://user:secret@127.0.0.1:8080",
        "http://10.0.0.7:8080",
        "http://127.0.0.1.example.org",
    ],
)
def test_another_address_is_refused_and_a_password_in_it_not_shown(path: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Site.read(path, {})
    assert {one.field for one in refusal.value.violations} == {"spec.path"}
    assert "secret" not in str(refusal.value)


def test_another_host_is_used_when_it_is_meant_and_gets_a_key_by_https_only(tmp_path: Path) -> None:
    far = {"beyond_this_host": "true"}
    assert Site.read("http://10.0.0.7:8080", far).url == "http://10.0.0.7:8080"
    key = tmp_path / "key"
    key.write_text("abc\n")
    with_key = far | {"api_key_file": str(key)}
    assert Site.read("https://10.0.0.7", with_key).headers["Authorization"] == "Bearer abc"
    with pytest.raises(InvalidRequest, match="https only"):
        Site.read("http://10.0.0.7", with_key)


@pytest.mark.parametrize("held", [b"", b"\n", b"sec\nret", b"sec ret", b"sec\x00ret", "sécret".encode()])
def test_a_key_that_is_none_is_refused_and_not_shown(held: bytes, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(held)
    with pytest.raises(InvalidRequest) as refusal:
        Site.read("http://127.0.0.1:8080", {"api_key_file": str(key)})
    assert "api_key_file" in refusal.value.violations[0].field
    assert "ret" not in str(refusal.value)


def test_a_key_file_that_is_missing_is_named_beside_all_else(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        Site.read("nowhere", {"api_key_file": str(tmp_path / "none")})
    assert [one.field for one in refusal.value.violations] == [
        "spec.path",
        "spec.path",
        "spec.engine_options['api_key_file']",
    ]


def test_a_key_does_not_print_itself(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("abcdef")
    site = Site.read("http://127.0.0.1:1", {"api_key_file": str(key)})
    assert "abcdef" not in repr(site) and "abcdef" not in site.shown


def test_options_are_these_and_a_key_is_none_of_them() -> None:
    check_options("openai-server", {"model": "m", "server": "vllm", "silence_s": "30"})
    with pytest.raises(InvalidRequest, match="no such option"):
        check_options("openai-server", {"api_key": "abc"})
    with pytest.raises(InvalidRequest, match="one of auto, llama-server, vllm, tabbyapi"):
        check_options("openai-server", {"server": "ollama"})


def test_the_page_names_every_option() -> None:
    page = (Path(__file__).parents[3] / "services/inference-node/ENGINES.md").read_text()
    section = page.partition("## openai-server\n")[2].partition("\n## ")[0]
    assert all(f"| `{name}` |" in section for name in ENTRY.options)
