"""`python -m orchestra_client` is `orchestra`."""

from orchestra_client.command import run

run()
