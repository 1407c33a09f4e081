"""Install the Debian packages that a window needs, where that is allowed.

Run without arguments: installs what is missing as root, or through a ``sudo``
that asks for no password; elsewhere it prints the one line to run. It always
ends with exit code 0, because without these packages only the tests marked
``display`` are skipped. With ``--check`` it changes nothing and exits with 1
when a package is missing.

Standard library only: it runs before anything else is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = (
    "xvfb",
    "xauth",
    "libegl1",
    "libgl1",
    "libgl1-mesa-dri",
    "libglib2.0-0",
    "libglx-mesa0",
    "libopengl0",
    "libdbus-1-3",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xkb1",
)
# Newer Debian and Ubuntu renamed it for the 64-bit time type.
RENAMED = {"libglib2.0-0": "libglib2.0-0t64"}


def missing_packages() -> list[str]:
    """Return the packages of the list that dpkg does not report as installed.

    Returns
    -------
    list of str
        Empty where everything is there, and where there is no dpkg: on other
        systems than Debian's family nothing is known and nothing is asked for.
    """
    if shutil.which("dpkg-query") is None:
        return []
    names = [*PACKAGES, *RENAMED.values()]
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {
        line.split()[0]
        for line in answer.stdout.splitlines()
        if line.endswith(" installed")
    }
    return [
        name
        for name in PACKAGES
        if name not in installed and RENAMED.get(name) not in installed
    ]


def install_line(packages: list[str]) -> str:
    """Return the one line that a person runs to install `packages`."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    sudo = "" if root else "sudo "
    return (
        f"{sudo}apt-get update && {sudo}apt-get install -y "
        f"--no-install-recommends {' '.join(packages)}"
    )


def privileged_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root, None if nothing does."""
    if not hasattr(os, "geteuid"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        allowed = subprocess.run(
            ["sudo", "-n", "true"], capture_output=True, check=False
        )
        if allowed.returncode == 0:
            return ["sudo", "-n"]
    return None


def install(packages: list[str], prefix: list[str]) -> bool:
    """Install `packages` with apt-get, asking nothing; tell whether it worked."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    apt = [*prefix, *environment, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"]
    for command in (
        [*apt, "update"],
        [*apt, "install", "-y", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(*done.stdout.splitlines()[-5:], sep="\n")
            return False
    return True


def main(arguments: list[str]) -> int:
    """Install or check, as the module's text says; return the exit code."""
    missing = missing_packages()
    if not missing:
        print("system packages: nothing to install")
        return 0
    if "--check" in arguments:
        print(install_line(missing))
        return 1
    prefix = privileged_prefix()
    if prefix is not None and shutil.which("apt-get") is not None:
        print(f"system packages: installing {' '.join(missing)}", flush=True)
        if install(missing, prefix):
            return 0
    print("system packages: tests with a window are skipped until someone runs")
    print(f"    {install_line(missing)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
