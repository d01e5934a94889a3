"""An AppArmor profile applies to the container's process, and one that is not loaded is refused in one clear line."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kit import PAYLOAD, Skip, bundle, pyrt_oci

import pyrt

NAME = "pyrt-vm"
PROFILE = f"""
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  signal,
  umount,
  deny /etc/hostname w,
}}
"""


def load_profile() -> None:
    if "apparmor" not in Path("/sys/kernel/security/lsm").read_text():
        raise Skip("this kernel runs without AppArmor")
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache"], input=PROFILE, text=True, check=True, timeout=50)


def check_profile_applies() -> None:
    load_profile()
    script = f"{PAYLOAD} label; {PAYLOAD} open /etc/hostname"
    done = pyrt.run("host", ["sh", "-c", script], security_opt=[f"apparmor={NAME}"], text=True)
    assert done.stdout.splitlines() == [f"{NAME} (enforce)", "Permission denied"], done


def check_without_profile() -> None:
    done = pyrt.run("host", ["sh", "-c", f"{PAYLOAD} open /etc/hostname"], security_opt=["apparmor=unconfined"], text=True)
    assert done.stdout == "open\n", done


def check_unknown_profile_is_refused() -> None:
    try:
        pyrt.run("host", ["true"], security_opt=["apparmor=no-such-profile"])
    except pyrt.PyrtError as error:
        assert "apparmor" in str(error).lower(), error
        assert "\n" not in str(error), error
    else:
        raise AssertionError("a container started under a profile that is not loaded")


def check_oci_profile_applies() -> None:
    load_profile()
    folder = bundle("confined", ["/bin/payload", "label"], process={"apparmorProfile": NAME})
    assert pyrt_oci("run", "--bundle", folder, "confined").ok() == f"{NAME} (enforce)\n"
