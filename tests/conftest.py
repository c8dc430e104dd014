"""Settings for every test. What one package needs lives in the conftest beside its own tests."""

import pytest

# asserts of the suites that live in a package explain themselves, as those of test files do
pytest.register_assert_rewrite("orchestra_testing.engine_contract")
