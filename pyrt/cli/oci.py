"""`pyrt-oci`: runc's command line, for containerd, CRI-O, Docker, Podman and Kubernetes.

Options may stand before or after the container's id, but for exec, kill and ps, whose arguments after the id are
somebody else's. Failures end with exit code 1 (exec: 255), and their one line goes to --log and to stderr, as
runc's callers expect.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pyrt.base.errors import InvalidRequest, NotFound, PyrtError, Unsupported, errno_words
from pyrt.cli.oci_log import Log

if TYPE_CHECKING:
    from pyrt.runtime.launch import Launch
    from pyrt.runtime.oci.container import Container
    from pyrt.runtime.oci.store import Store

__all__ = ["cli", "main"]

_PASS_ON = {"allow_interspersed_args": False}
_BOOLEAN = re.compile(
    r"--(all|force|detach|tty|keep|no-pivot|no-new-keyring|no-subreaper|no-new-privs|ignore-paused|stats|quiet|debug|rootless)"
    r"=(true|false)"
)


class Globals:
    """The options before the command."""

    def __init__(self, root: str, root_given: bool, log: Log) -> None:
        self.root = root
        self.root_given = root_given
        self.log = log

    @property
    def store(self) -> Store:
        """The containers below --root."""
        from pyrt.runtime.oci.store import Store

        return Store(self.root)

    def load(self, container_id: str) -> Container:
        """Raises NotFound."""
        from pyrt.runtime.oci.container import Container

        return Container.load(self.store, container_id)

    def warn(self, warnings: list[str] | tuple[str, ...]) -> None:
        """Logs each of them."""
        for warning in warnings:
            self.log.warning(warning)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from pyrt.cli.oci_report import version

        click.echo(version())
        ctx.exit()


def _titled(ctx: click.Context, text: str) -> str:
    """Help with the title that runc's has, for those who look for it."""
    return f"NAME:\n   {ctx.command_path} - {ctx.command.get_short_help_str(200)}\n\n{text}"


class _Command(click.Command):
    def get_help(self, ctx: click.Context) -> str:
        return _titled(ctx, super().get_help(ctx))


class _Group(click.Group):
    """Reads the file of the two commands that few callers use only when they are wanted."""

    _later = ("events", "update")

    def get_help(self, ctx: click.Context) -> str:
        return _titled(ctx, super().get_help(ctx))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise InvalidRequest(f"No help topic for '{args[0]}'")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._later])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later:
            from pyrt.cli import oci_update

            return oci_update.events if cmd_name == "events" else oci_update.update
        return super().get_command(ctx, cmd_name)


_Group.command_class = _Command


@click.group(cls=_Group, context_settings={"help_option_names": ["--help", "-h"]})
@click.option("--debug", is_flag=True, help="enable debug logging")
@click.option("--log", "log_path", default="", help="set the log file to write logs to (default is stderr)")
@click.option("--log-format", default="text", help="set the log format ('text' (default), or 'json')")
@click.option("--root", default=None, help="root directory for storage of container state (should be in tmpfs)")
@click.option("--rootless", default="auto", help="accepted for runc's sake: what this user may do is found out")
@click.option("--criu", default="", hidden=True)
@click.option("--systemd-cgroup", is_flag=True, help="not supported: cgroups are made in the cgroup file system")
@click.option("--cgroup-manager", default="cgroupfs", help="cgroupfs, the only one that is supported")
@click.option("--version", "-v", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="print the version")
@click.pass_context
def cli(
    ctx: click.Context,
    debug: bool,
    log_path: str,
    log_format: str,
    root: str | None,
    rootless: str,
    criu: str,
    systemd_cgroup: bool,
    cgroup_manager: str,
) -> None:
    """An Open Container Initiative runtime with runc's command line."""
    from pyrt.runtime.oci.store import default_root

    if rootless.lower() not in ("", "auto", "true", "false", "1", "0", "t", "f"):
        raise InvalidRequest(f'--rootless: invalid value "{rootless}" (true, false or auto)')
    ctx.obj = log = Log(log_path, log_format, debug)
    if systemd_cgroup or cgroup_manager != "cgroupfs":
        raise Unsupported("--systemd-cgroup is not supported: cgroups are made in the cgroup file system (cgroupfs)")
    chosen = default_root() if root is None else os.path.abspath(root)
    if chosen == "/":
        raise InvalidRequest("Option --root argument should not be set to /")
    ctx.obj = Globals(chosen, root is not None, log)
    log.detail(f"{ctx.invoked_subcommand}: root {chosen}")


def _absolute(_: click.Context, __: click.Parameter, value: str | None) -> str:
    return os.path.abspath(value) if value else ""


def _start_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--bundle", "-b", default="", help="path to the root of the bundle directory (default: here)"),
            click.option("--config", "-f", default="config.json", help="file to read instead of the bundle's config.json"),
            click.option("--console-socket", default="", callback=_absolute, help="unix socket to get the terminal's master"),
            click.option("--pidfd-socket", default="", callback=_absolute, help="unix socket to get a pidfd of the process"),
            click.option("--pid-file", default="", callback=_absolute, help="file to write the process id to"),
            click.option("--no-pivot", is_flag=True, help="do not use pivot_root (for a rootfs on a ramdisk)"),
            click.option("--no-new-keyring", is_flag=True, help="keep the caller's session keyring"),
            click.option("--preserve-fds", type=click.IntRange(0, 128), default=0, help="pass N more file descriptors in"),
            click.argument("container_id"),
            click.pass_obj,
        )
    ):
        function = option(function)
    return function


@cli.command()
@_start_options
def create(g: Globals, container_id: str, bundle: str, **options: Any) -> None:
    """Create a container from a bundle; it waits for start."""
    from pyrt.runtime.oci import start

    request, spec, warnings = _request(container_id, bundle, options)
    g.warn(warnings)
    with _Named("container create failed"):
        start.create(g.store, request, spec)


@cli.command()
@click.option("--detach", "-d", is_flag=True, help="detach from the container's process")
@click.option("--keep", is_flag=True, help="do not delete the container after it exits")
@click.option("--no-subreaper", is_flag=True, help="accepted for runc's sake")
@_start_options
def run(g: Globals, container_id: str, bundle: str, no_subreaper: bool, **options: Any) -> int:
    """Create and start a container; without --detach, wait for its end and delete it."""
    from pyrt.runtime.oci import start

    request, spec, warnings = _request(container_id, bundle, options)
    g.warn(warnings)

    container: Container | None = None

    def begin(console: int, size: tuple[int, int]) -> Launch:
        nonlocal container
        import dataclasses

        attached = dataclasses.replace(request, console=console, tty_size=size)
        launched, container = start.run(g.store, attached, spec)
        g.warn(start.poststart(container))
        return launched

    with _Named("container run failed"):
        if request.detach:
            begin(-1, (0, 0))
            return 0
        terminal = spec.process is not None and spec.process.terminal
        try:
            return _foreground(begin, terminal)
        finally:
            if container is not None and not request.keep:
                g.warn(container.destroy())


def _request(container_id: str, bundle: str, options: dict[str, Any]) -> tuple[Any, Any, tuple[str, ...]]:
    from pyrt.runtime.oci import start
    from pyrt.runtime.oci.store import check_id

    check_id(container_id)
    bundle = os.path.abspath(bundle or ".")
    spec, warnings = start.load_bundle(bundle, options.pop("config"))
    listen = _listen_fds()
    options["preserve_fds"] += listen
    return start.Request(id=container_id, bundle=bundle, listen_fds=listen, **options), spec, warnings


def _listen_fds() -> int:
    """How many sockets systemd has opened for us (sd_listen_fds(3)): they go in first."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return 0
    count = os.environ.get("LISTEN_FDS", "")
    return int(count) if count.isdigit() else 0


def _foreground(begin: Callable[[int, tuple[int, int]], Launch], terminal: bool) -> int:
    """Attends to a launch until the process has ended; gives its exit code."""
    import signal

    from pyrt.cli.signals import FORWARDED
    from pyrt.runtime.launch import exit_code

    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # from here on they are the container's, however early they come
    if terminal:
        from pyrt.cli.terminal import Terminal

        with Terminal(True) as tty:
            launched = begin(tty.console, tty.size())
            last = launched.last or tty.attend(launched)
    else:
        from pyrt.cli.signals import forwarding

        launched = begin(-1, (0, 0))
        with forwarding(launched):
            while launched.last is None:
                launched.wait()
            last = launched.last
    return exit_code(last.wait_status)[0]


class _Named:
    """Says in front of an error which command has failed."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PyrtError):
            raise PyrtError(f"{self.what}: {error}") from error


@cli.command()
@click.argument("container_id")
@click.pass_obj
def start(g: Globals, container_id: str) -> None:
    """Execute the user defined process in a created container."""
    from pyrt.runtime.oci import start as lifecycle

    g.warn(lifecycle.start(g.store, container_id))


@cli.command()
@click.argument("container_id")
@click.pass_obj
def state(g: Globals, container_id: str) -> None:
    """Output the state of a container."""
    import json

    from pyrt.cli.oci_report import describe

    click.echo(json.dumps(describe(g.load(container_id)), indent=2))


@cli.command(context_settings=_PASS_ON)
@click.option("--all", "-a", "everyone", is_flag=True, help="send the signal to all processes inside the container")
@click.argument("container_id")
@click.argument("signal_name", metavar="[SIGNAL]", default="SIGTERM")
@click.pass_obj
def kill(g: Globals, container_id: str, signal_name: str, everyone: bool) -> None:
    """Send a signal (default: SIGTERM) to the container's init process."""
    from pyrt.base.units import parse_signal

    container = g.load(container_id)
    number = 0 if signal_name == "0" else parse_signal(signal_name)
    container.kill(number, everyone)


@cli.command()
@click.option("--force", "-f", is_flag=True, help="forcibly delete the container if it is still running (SIGKILL)")
@click.argument("container_id")
@click.pass_obj
def delete(g: Globals, container_id: str, force: bool) -> None:
    """Delete any resources held by the container."""
    from pyrt.runtime.oci.container import Container, end_leftover

    store = g.store
    try:
        if force:  # a `start` that hangs holds the lock, and lets go when init has gone
            _end_now(g, container_id)
        with store.lock(container_id):
            left = store.leftover(container_id)
            if left is not None:
                end_leftover(left)
                store.remove(container_id)
                return
            try:
                container = Container.load(store, container_id)
            except NotFound:
                store.remove(container_id)
                raise
            g.warn(container.delete(force))
    except NotFound:
        if not force:
            raise


def _end_now(g: Globals, container_id: str) -> None:
    try:
        g.load(container_id).end_now()
    except NotFound:
        pass  # what there is of it is removed under the lock


@cli.command(name="list")
@click.option("--format", "-f", "form", default="table", help="select one of: table or json")
@click.option("--quiet", "-q", is_flag=True, help="display only container IDs")
@click.pass_obj
def list_(g: Globals, form: str, quiet: bool) -> None:
    """List containers started with the given root."""
    from pyrt.cli.oci_report import list_containers, print_list

    click.echo(print_list(list_containers(g.store, g.root_given), form, quiet), nl=False)


@cli.command(context_settings=_PASS_ON)
@click.option("--format", "-f", "form", default="table", help="select one of: table or json")
@click.argument("container_id")
@click.argument("ps_args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ps(g: Globals, container_id: str, form: str, ps_args: tuple[str, ...]) -> None:
    """Display the processes running inside a container."""
    from pyrt.cli.oci_report import print_processes

    pids = g.load(container_id).cgroup.pids()
    click.echo(print_processes(pids, form, ps_args), nl=False)


@cli.command()
@click.argument("container_id")
@click.pass_obj
def pause(g: Globals, container_id: str) -> None:
    """Suspend all processes inside the container."""
    g.load(container_id).pause()


@cli.command()
@click.argument("container_id")
@click.pass_obj
def resume(g: Globals, container_id: str) -> None:
    """Resume all processes that have been paused."""
    g.load(container_id).resume()


@cli.command(name="exec", context_settings=_PASS_ON)
@click.option("--console-socket", default="", callback=_absolute, help="unix socket to get the terminal's master")
@click.option("--pidfd-socket", default="", callback=_absolute, help="unix socket to get a pidfd of the process")
@click.option("--cwd", default="", help="current working directory in the container")
@click.option("--env", "-e", multiple=True, help="set environment variables")
@click.option("--tty", "-t", is_flag=True, help="allocate a pseudo-TTY")
@click.option("--user", "-u", default="", help="UID (format: <uid>[:<gid>])")
@click.option("--additional-gids", "-g", multiple=True, type=int, help="additional gids")
@click.option("--process", "-p", "process_path", default="", help="path to the process.json")
@click.option("--detach", "-d", is_flag=True, help="detach from the process")
@click.option("--pid-file", default="", callback=_absolute, help="file to write the process id to")
@click.option("--process-label", default="", help="set the SELinux label of the process")
@click.option("--apparmor", default="", help="set the AppArmor profile of the process")
@click.option("--no-new-privs", is_flag=True, default=None, help="set the no new privileges value for the process")
@click.option("--cap", "-c", multiple=True, help="add a capability for the process")
@click.option("--preserve-fds", type=click.IntRange(0, 128), default=0, help="pass N more file descriptors in")
@click.option("--cgroup", multiple=True, help="run in an existing sub-cgroup: [<controller>:]<cgroup>")
@click.option("--ignore-paused", is_flag=True, help="allow exec in a paused container")
@click.argument("container_id")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def exec_(g: Globals, /, container_id: str, args: tuple[str, ...], **options: Any) -> int:
    """Execute a new process inside the container."""
    try:
        with _Named("exec failed"):
            return _exec(g, container_id, args, options)
    except PyrtError as error:
        g.log.error(str(error))
        return 255


def _exec(g: Globals, container_id: str, args: tuple[str, ...], options: dict[str, Any]) -> int:
    from pyrt.model import oci
    from pyrt.runtime.oci import enter
    from pyrt.runtime.spec import decode

    container = g.load(container_id)
    if options["process_path"]:
        process = decode.load_as(oci.Process, options["process_path"])
    else:
        own = container.record.config.process
        assert own is not None  # create refuses a configuration without
        changes = enter.Changes(
            args=args,
            tty=options["tty"],
            cwd=options["cwd"],
            env=options["env"],
            user=options["user"],
            additional_gids=options["additional_gids"],
            apparmor=options["apparmor"],
            process_label=options["process_label"],
            no_new_privs=options["no_new_privs"],
            caps=options["cap"],
        )
        process = enter.changed(own, changes)
    detach = options["detach"]

    def begin(console: int, size: tuple[int, int]) -> Launch:
        request = enter.Request(
            pid_file=options["pid_file"],
            console_socket=options["console_socket"],
            pidfd_socket=options["pidfd_socket"],
            preserve_fds=options["preserve_fds"],
            detach=detach,
            ignore_paused=options["ignore_paused"],
            cgroups=options["cgroup"],
            console=console,
            tty_size=size,
        )
        return enter.enter(container, process, request)[0]

    if detach:
        begin(-1, (0, 0))
        return 0
    return _foreground(begin, process.terminal)


@cli.command()
@click.option("--bundle", "-b", default="", help="path to the root of the bundle directory (default: here)")
@click.option("--rootless", is_flag=True, help="generate a configuration for a rootless container")
def spec(bundle: str, rootless: bool) -> None:
    """Create a new specification file."""
    from pyrt.cli.oci_report import write_spec

    write_spec(os.path.abspath(bundle or "."), rootless)


def _no_checkpoint() -> None:
    raise Unsupported("checkpoint and restore are not supported by this runtime")


for _name in ("checkpoint", "restore"):
    cli.add_command(
        _Command(
            _name,
            context_settings={"ignore_unknown_options": True},
            params=[click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, expose_value=False)],
            callback=_no_checkpoint,
            help="Not supported by this runtime.",
        )
    )


@cli.command()
def features() -> None:
    """Show the enabled features as JSON."""
    from pyrt.cli.oci_report import features as document

    click.echo(document(), nl=False)


def main(argv: list[str] | None = None) -> None:
    """Runs a command line and exits: 0, 1 for a failure (exec: 255), or the code of a process in the foreground."""
    sys.exit(_main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    argv = _plain_booleans(argv)
    ctx: click.Context | None = None
    log: Log | None = None
    try:
        with cli.make_context("pyrt-oci", argv) as ctx:
            code = cli.invoke(ctx)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        text = f"Incorrect Usage: {error.format_message()}"
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return 141
    except PyrtError as error:
        text = str(error)
    except OSError as error:
        text = f"{error.filename}: {errno_words(error.errno or 0)}" if error.filename else errno_words(error.errno or 0)
    except Exception as error:
        if "--debug" in argv:
            raise
        text = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
    log = ctx.obj.log if ctx is not None and isinstance(ctx.obj, Globals) else _log_of(argv)
    log.error(text)
    return 1


def _plain_booleans(argv: list[str]) -> list[str]:
    """`--tty=true`, as Go programs write it, for an option that click wants without a value. Stops at "--" and at the
    command of exec, which are not ours."""
    plain: list[str] = []
    for index, word in enumerate(argv):
        if word == "--":
            return plain + argv[index:]
        found = _BOOLEAN.fullmatch(word)
        if not found or found[1] == "rootless":
            plain.append(word)
        elif found[2] == "true":
            plain.append(f"--{found[1]}")
    return plain


def _log_of(argv: list[str]) -> Log:
    """The log for an error in the command line itself, which click has not finished reading."""
    options = {"--log": "", "--log-format": "text"}
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in options:
            options[name] = value if equals else argv[index + 1] if index + 1 < len(argv) else ""
        elif not word.startswith("-") and argv[index - 1] not in (*options, "--root", "--rootless"):
            break
    try:
        return Log(options["--log"], options["--log-format"])
    except InvalidRequest:
        return Log()


if __name__ == "__main__":
    main()
