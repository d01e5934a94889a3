"""The compiler's doors: a spec and the machine's facts become a plan."""

from __future__ import annotations

from pyrt.runtime.plan.options import CompileOptions, JoinTarget

__all__ = ["CompileOptions", "JoinTarget"]
