from click.testing import CliRunner

import pyrt
from pyrt.cli.version import version


def test_what_a_bug_report_needs() -> None:
    shown = CliRunner().invoke(version, []).output
    for word in (pyrt.__version__, "OCI runtime spec", "Python", "Kernel", "linux/"):
        assert word in shown
