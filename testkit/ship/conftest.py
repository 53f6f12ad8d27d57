"""Where things are, how programs are run, and which variables ours know."""

import os
import re
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".state/ship/bin"
PYTHON_TOOLS = ROOT / ".state/ship/venv/bin"
PROGRAMS = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug"


def seconds(file, duration):
    """A duration of the programs."""
    found = re.search(duration + r"Duration::from_secs\((\d+)\)", (ROOT / file).read_text())
    assert found, f"{file}: {duration}"
    return int(found[1])


# What the programs take to stop besides PROXY_DRAIN_TIMEOUT. Control has its own for
# requests, and again for batches of usage.
FAREWELL = seconds("proxy/src/app.rs", "const FAREWELL: Duration = ")
FLUSH = seconds("proxy/src/app.rs", "const FLUSH: Duration = ")
CONTROL_DRAIN = seconds("control/src/settings.rs", "drain: ")
# At most, for what a collector has not got yet.
COLLECTOR = 5


def run(*command, **more):
    """What a command prints; it must succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **more)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def started(*command, env, ready, **more):
    """A program that listens there, for as long as it is needed."""
    process = subprocess.Popen(command, env=env, **more)
    try:
        until = time.monotonic() + 30
        while True:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < until, "it does not listen"
            try:
                socket.create_connection(ready, 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def variables(program):
    """The variables of a program, and whether each is a secret."""
    sources = [f"{program}/src/settings.rs", "telemetry/src/settings.rs"]
    source = "".join((ROOT / it).read_text() for it in sources)
    attributes = re.findall(r"#\[arg\((.*?)\)\]\n", source, re.DOTALL)
    found = {}
    for attribute in attributes:
        if name := re.search(r'env = "(\w+)"', attribute):
            found[name[1]] = "hide_env_values" in attribute
    assert len(found) > 20, found
    return found


@pytest.fixture(scope="session")
def known():
    """All settings by name; also the files that secrets may be in."""
    both = variables("proxy") | variables("control")
    files = {f"{name}_FILE" for name, secret in both.items() if secret}
    return set(both) | files
