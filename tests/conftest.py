"""Settings for every test. What one package needs lives in the conftest beside its own tests."""
