"""The configuration examples are what the programs take."""

import subprocess
import tomllib

import pytest

from conftest import PROGRAMS, ROOT


@pytest.mark.parametrize("role", ["planner", "executor", "gateway"])
def test_an_example_is_in_force_as_written(role):
    example = ROOT / "deploy" / f"{role}.toml"
    command = [PROGRAMS / f"caravan-{role}", "--config", example, "--dump-config"]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    in_force, wanted = tomllib.loads(dumped), tomllib.loads(example.read_text())
    for key, value in wanted.items():
        if isinstance(value, dict):
            assert value.items() <= in_force[key].items()
        elif key == "engines":
            assert [(engine["kind"], engine["slots"]) for engine in in_force[key]] == [("ollama", 4)]
        elif key == "planner":
            assert [url.rstrip("/") for url in in_force[key]] == value
        else:
            assert in_force[key] == value
