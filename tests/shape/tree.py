"""What the checks of the shape look at: files of the checkout."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PACKAGE = TOP / "pyrt"
CSRC = TOP / "csrc"
UNIT = TOP / "tests" / "unit"


def python_files() -> list[Path]:
    """Every module of the package that holds code of its own."""
    return sorted(p for p in PACKAGE.rglob("*.py") if p.name not in ("__init__.py", "__main__.py"))


def c_files() -> list[Path]:
    return sorted(p for suffix in ("*.c", "*.h") for p in CSRC.rglob(suffix))


def shown(path: Path) -> str:
    return path.relative_to(TOP).as_posix()
