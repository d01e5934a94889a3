import signal

from pyrt.cli.signals import FORWARDED


def test_what_goes_on_to_the_container() -> None:
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1} <= FORWARDED
    assert not {signal.SIGCHLD, signal.SIGTSTP, signal.SIGCONT, signal.SIGKILL, signal.SIGWINCH, signal.SIGSEGV} & FORWARDED
