"""Installs the real OA and the real ERP of the tests, each into a virtual environment of its own under .real/.

`python -m tests.support.real install` brings both up to their lock files, side by side; nothing happens when they are.
`python -m tests.support.real up` starts both and prints how to log in, until Ctrl-C: for trying things by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
REAL = ROOT / ".real"
SYSTEMS = ("tryton", "cubicweb")


class NotInstalled(Exception):
    """A real system is not installed here; the message says how to get it."""


def requirements(system: str) -> Path:
    """The lock file of a system."""
    return ROOT / "requirements" / f"real-{system}.txt"


def programs(system: str) -> Path:
    """The folder of a system's programs. Where it is missing or older than its lock file, CI installs it, a laptop is
    asked to: raises NotInstalled."""
    venv = REAL / f"{system}-venv"
    if os.environ.get("CI") == "true":
        install(system)
    elif not _is_fresh(system, venv):
        raise NotInstalled(
            f"{system} is not installed for the tests: run `make e2e` or `python -m tests.support.real install`"
        )
    return venv / "bin"


def install(system: str) -> str:
    """Makes the virtual environment of a system equal to its lock file; says what was done. Safe to run twice at once."""
    REAL.mkdir(exist_ok=True)
    venv = REAL / f"{system}-venv"
    with (REAL / f"{system}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_fresh(system, venv):
            return f"{system}: installed already"
        shutil.rmtree(venv, ignore_errors=True)
        _run(sys.executable, "-m", "venv", venv)
        pip = (venv / "bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
        _run(*pip, "--require-hashes", "-r", requirements(system))
        _stamp(venv).write_text(_digest(system))
    return f"{system}: installed"


def _is_fresh(system: str, venv: Path) -> bool:
    stamp = _stamp(venv)
    return stamp.exists() and stamp.read_text() == _digest(system)


def _stamp(venv: Path) -> Path:
    return venv / "installed"


def _digest(system: str) -> str:
    # The path counts, too: a virtual environment that was moved does not run.
    return hashlib.sha256(requirements(system).read_bytes() + str(REAL).encode()).hexdigest()


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout[-1000:]}{done.stderr[-3000:]}")


def _install() -> None:
    with ThreadPoolExecutor(len(SYSTEMS)) as pool:
        for said in pool.map(install, SYSTEMS):
            print(said, file=sys.stderr)


def _up() -> None:
    from tests.support import cubicweb, servers, tryton

    with ExitStack() as stack:
        databases = servers.Databases(servers.find_postgres()[0])
        stack.callback(databases.remove)
        erp = stack.enter_context(tryton.running(databases))
        oa = stack.enter_context(cubicweb.running())
        print(json.dumps({"tryton": erp.login(), "cubicweb": oa.login()}, ensure_ascii=False, indent=2), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    actions = {"install": _install, "up": _up}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        raise SystemExit(f"usage: python -m tests.support.real {'|'.join(actions)}")
    try:
        actions[sys.argv[1]]()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
