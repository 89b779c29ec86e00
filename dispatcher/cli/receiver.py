"""`dispatcher receiver`: what providers push, and who may push."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.context import refuse_empty_options, settings_from
from dispatcher.cli.data import data_options, is_data_asked, print_data
from dispatcher.cli.lazy import CONFIG, ConfiguredGroup
from dispatcher.cli.output import pluralize, print_json, print_table, safe_text
from dispatcher.errors import NothingToDo, Unsupported, WrongOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.config.settings import Settings
    from dispatcher.receiver.server import ListenAddress
    from dispatcher.store.replies import ReplyRow

#: Beside the metrics' 9109.
_PORT: Final = 9110
_REPLY_COLUMNS: Final = ("at", "account", "msisdn", "text", "stop")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("receiver", cls=ConfiguredGroup, params=[CONFIG], invoke_without_command=True)
@click.option("--host", metavar="ADDRESS", help="Where it listens. [default: `host`, 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535),
    help=f"The port; 0: any free one. [default: `port`, {_PORT}]",
)  # fmt: skip
@click.option(
    "--certificate", "certificate_file", type=click.Path(dir_okay=False, path_type=Path),
    help="The certificate for TLS (PEM). [default: `certificate_file`]",
)  # fmt: skip
@click.option(
    "--key", "key_file", type=click.Path(dir_okay=False, path_type=Path),
    help="Its key (PEM). [default: `key_file`]",
)  # fmt: skip
@click.option(
    "--without-tls", is_flag=True,
    help="Listen beyond this machine without TLS: a proxy before it has it.",
)  # fmt: skip
@click.pass_context
def receiver_group(
    ctx: click.Context,
    *,
    host: str | None,
    port: int | None,
    certificate_file: Path | None,
    key_file: Path | None,
    without_tls: bool,
) -> None:
    """Take receipts and replies that providers push, until Ctrl-C; the keys are under [receiver].

    Only who has the secret URL of an account can push: `dispatcher receiver url ACCOUNT` makes one.
    Receipts are stored as those that are asked for. Who replies with a word such as STOP goes to
    the suppression list.

    \b
    Example:
      dispatcher receiver url main
      dispatcher receiver --port 9110
    """
    if ctx.invoked_subcommand is not None:
        return
    from contextlib import closing

    import uvloop

    from dispatcher.logs.console import make_console
    from dispatcher.logs.events import LogEvent
    from dispatcher.logs.formats import set_up_logs
    from dispatcher.receiver.run import receive_until_signal
    from dispatcher.store.engine import Store
    from dispatcher.store.migrate import create_tables_if_new

    refuse_empty_options(ctx)
    settings = settings_from(ctx)
    given = {
        "host": host, "port": port, "certificate_file": certificate_file, "key_file": key_file,
    }  # fmt: skip
    at = _listen_address(settings, given, without_tls=without_tls)
    set_up_logs(settings.log.format, settings.secret_values())
    console = make_console(settings.log.format, click.echo)
    with closing(Store(settings.store.url)) as store:
        create_tables_if_new(store)
        uvloop.run(
            receive_until_signal(
                settings,
                store,
                at,
                lambda url: console.announce(LogEvent.RECEIVER_READY, f"receiver ready: {url}"),
            )
        )
    console.announce(LogEvent.STOPPED, "stopped")


def _listen_address(
    settings: "Settings", given: "Mapping[str, object]", *, without_tls: bool
) -> "ListenAddress":
    from dispatcher.config.sections import ReceiverSettings, is_loopback
    from dispatcher.receiver.run import load_certificate
    from dispatcher.receiver.server import ListenAddress

    chosen = settings.receiver.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    assert isinstance(chosen, ReceiverSettings)
    certificate, key = chosen.certificate_file, chosen.key_file
    if (certificate is None) != (key is None):
        raise WrongOptions("a certificate needs its key", "give --certificate and --key")
    tls = load_certificate(certificate, key) if certificate and key else None
    port = _PORT if chosen.port is None else chosen.port
    if tls is None and not is_loopback(chosen.host):
        if not without_tls:
            raise WrongOptions(
                f"{chosen.host} is not an address of this machine alone, and there is no TLS",
                "give --certificate and --key; or listen on 127.0.0.1 behind a proxy that has TLS; "
                "or --without-tls, if the network up to that proxy is yours",
            )
        click.echo(
            f"Warning: everything between a provider and {chosen.host}:{port} can read phone "
            "numbers, replies and the secret URLs: there is no TLS.",
            err=True,
        )
    return ListenAddress(host=chosen.host, port=port, tls=tls)


@receiver_group.command("url")
@click.argument("account")
@_json_option
@click.pass_context
def receiver_url(ctx: click.Context, account: str, as_json: bool) -> None:
    """Make a secret URL for an account's provider to push to, and show it once.

    Only a hash of it is stored. Earlier URLs go on working, so that the provider can be given the
    new one first; then `dispatcher receiver revoke ACCOUNT`.

    \b
    Example:
      dispatcher receiver url main
    """
    from dispatcher.receiver.access import PUSH_PATH, digest_token, make_token
    from dispatcher.store.audit import add_audit_row, current_person
    from dispatcher.store.engine import Store, store_now
    from dispatcher.store.migrate import create_tables_if_new
    from dispatcher.store.push_urls import add_push_url

    settings = settings_from(ctx)
    _require_pushes(settings, account)
    token, store = make_token(), Store(settings.store.url)
    create_tables_if_new(store)
    with store.write() as conn:
        now, actor = store_now(conn), current_person()
        add_push_url(conn, account, digest_token(token), actor=actor, now=now)
        add_audit_row(conn, "receiver url", now=now, actor=actor, account=account)
    mine = settings.receiver
    base = mine.url or f"http://{mine.host}:{mine.port or _PORT}"
    url = f"{base}{PUSH_PATH}{account}/{token}"
    if as_json:
        print_json({"account": account, "url": url})
        return
    click.echo(url)
    click.echo(
        "Give it to the provider as the callback URL. It is shown only now; who knows it can "
        "push receipts and replies of this account.",
        err=True,
    )
    if mine.url is None:
        click.echo("Providers do not reach this address: set `url` under [receiver].", err=True)


@receiver_group.command("revoke")
@click.argument("account")
@click.option("--all", "everything", is_flag=True, help="The newest too: nothing can be pushed.")
@_json_option
@click.pass_context
def receiver_revoke(ctx: click.Context, account: str, everything: bool, as_json: bool) -> None:
    """Revoke an account's URLs, except the newest. A receiver that runs knows within 2 s.

    \b
    Example:
      dispatcher receiver revoke main
    """
    from dispatcher.store.audit import add_audit_row, current_person
    from dispatcher.store.engine import Store, store_now
    from dispatcher.store.push_urls import revoke_push_urls

    with Store(settings_from(ctx).store.url).write() as conn:
        gone = revoke_push_urls(conn, account, but_newest=not everything)
        if gone:
            add_audit_row(
                conn, "receiver revoke", now=store_now(conn), actor=current_person(),
                account=account, detail=f"{pluralize(gone, 'URL')}",
            )  # fmt: skip
    if as_json:
        print_json({"account": account, "revoked": gone})
        return
    if not gone:
        raise NothingToDo(
            f"account {account} has no URL to revoke",
            "`--all` revokes its newest one too" if not everything else None,
        )
    click.echo(f"{pluralize(gone, 'URL')} revoked")


@receiver_group.command("replies")
@click.option("--account", help="Only those to this account.")
@click.option("--stops", is_flag=True, help="Only those that put a number on the list.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many."
)
@data_options
@click.pass_context
def receiver_replies(ctx: click.Context, account: str | None, stops: bool, limit: int) -> None:
    """List the newest replies, with numbers and texts. `campaign find` shows a number's.

    \b
    Example:
      dispatcher receiver replies --stops
    """
    from contextlib import closing

    from dispatcher.store.engine import Store
    from dispatcher.store.replies import list_replies

    refuse_empty_options(ctx)
    is_data = is_data_asked(ctx)
    with closing(Store(settings_from(ctx).store.url)) as store, store.read() as conn:
        rows = list_replies(conn, limit=limit, account=account, only_stops=stops)
    if is_data:
        found = [_reply_data(row) for row in rows]
        print_data(ctx, found, _REPLY_COLUMNS, found)
        return
    print_table(
        ("at (UTC)", "account", "number", "stop", "text"),
        [
            (f"{row.at:%Y-%m-%d %H:%M:%S}", row.account, f"+{row.msisdn}",
             "yes" if row.is_stop else "", safe_text(row.text))
            for row in rows
        ],
        spare=("text",),
    )  # fmt: skip


def _reply_data(row: "ReplyRow") -> dict[str, object]:
    from dispatcher.campaigns.wording import iso_time

    values = (iso_time(row.at), row.account, row.msisdn, row.text, row.is_stop)
    return dict(zip(_REPLY_COLUMNS, values, strict=True))


def _require_pushes(settings: "Settings", account: str) -> None:
    from dispatcher.providers import provider_class

    name = settings.account(account).provider
    able = provider_class(name).capabilities
    if not (able.pushes_receipts or able.pushes_replies):
        raise Unsupported(
            f"the document of {name} names nothing that it pushes",
            "receipts are asked for; there is nothing to set up",
        )
