"""Settings are read once from the environment, whole, with every mistake named at once."""

from pathlib import Path

import pytest

from orchestra_rpc import Port, ServiceSettings, SettingsError


class Settings(ServiceSettings):
    listen: str = "127.0.0.1:50059"
    metrics_port: Port = 51059
    state_dir: Path = Path("state")
    slots: int = 4


def test_defaults_hold_and_variables_override_them() -> None:
    settings = Settings.from_environment(
        {"ORCHESTRA_SLOTS": "7", "ORCHESTRA_LISTEN": "0.0.0.0:1", "SLOTS": "9"}
    )
    assert (settings.slots, settings.listen, settings.state_dir) == (7, "0.0.0.0:1", Path("state"))
    assert settings.rpc().listen == "0.0.0.0:1"


def test_an_empty_variable_is_an_absent_one() -> None:
    assert Settings.from_environment({"ORCHESTRA_METRICS_PORT": ""}).metrics_port == 51059


def test_every_wrong_variable_is_named_and_no_value_shown() -> None:
    wrong = {"ORCHESTRA_SLOTS": "sk-secret", "ORCHESTRA_METRICS_PORT": "70000", "ORCHESTRA_LOG_FORMAT": "xml"}
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(wrong)
    lines = str(refused.value).splitlines()
    assert {line.split(":")[0] for line in lines} == set(wrong)
    assert "sk-secret" not in str(refused.value)
