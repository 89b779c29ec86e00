"""The short stable code of every kind of error, with its cause and its remedy.

Codes are public names: scripts and runbooks search for them. One stands for a kind of mistake, not
for a sentence; the sentence says what happened in this case.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """What an error is called in every language and version."""

    USAGE = "E-USAGE"
    OPTIONS = "E-OPTIONS"
    VALUE = "E-VALUE"
    NOT_FOUND = "E-NOT-FOUND"
    PATH = "E-PATH"
    NOT_BUILT = "E-NOT-BUILT"
    CONFIG = "E-CONFIG"
    CONFIG_MISSING = "E-CONFIG-MISSING"
    CONFIG_FILE = "E-CONFIG-FILE"
    CONFIG_VARIABLE = "E-CONFIG-VARIABLE"
    CONFIG_SECRET = "E-CONFIG-SECRET"  # noqa: S105 - its code, not a secret
    REFUSED = "E-REFUSED"
    FILE = "E-FILE"
    TEXT = "E-TEXT"
    SENDER = "E-SENDER"
    BALANCE = "E-BALANCE"
    TIME = "E-TIME"
    STATE = "E-STATE"
    REPEAT = "E-REPEAT"
    NOTHING = "E-NOTHING"
    UNSUPPORTED = "E-UNSUPPORTED"
    STORE = "E-STORE"
    STORE_BUSY = "E-STORE-BUSY"
    STORE_DATA = "E-STORE-DATA"
    WITNESS = "E-WITNESS"
    UNKNOWN_END = "E-UNKNOWN-END"
    BROKER = "E-BROKER"
    PROCESS = "E-PROCESS"
    UNREACHABLE = "E-UNREACHABLE"
    CREDENTIALS = "E-CREDENTIALS"
    CREDIT = "E-CREDIT"
    THROTTLED = "E-THROTTLED"
    PROVIDER_SETUP = "E-PROVIDER-SETUP"
    CAMPAIGN_REFUSED = "E-CAMPAIGN-REFUSED"
    RECIPIENT_REFUSED = "E-RECIPIENT-REFUSED"
    DOUBT = "E-DOUBT"
    FAILED = "E-FAILED"
    SYSTEM = "E-SYSTEM"
    INTERNAL = "E-INTERNAL"


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """What `dispatcher explain` says about a code; `exit_code` is that of the command."""

    exit_code: int
    cause: str
    remedy: str


EXPLANATIONS: Final = {
    ErrorCode.USAGE: ErrorMeaning(
        2,
        "The command line cannot be understood: a command, an option or an argument is unknown, "
        "missing or too many.",
        "Run the command with --help: it lists the options and shows an example.",
    ),
    ErrorCode.OPTIONS: ErrorMeaning(
        2,
        "Two options do not go together, or one needs another one.",
        "Leave one out, or add the one that the message names.",
    ),
    ErrorCode.VALUE: ErrorMeaning(
        2,
        "The value of an option or an argument is not one that it can have.",
        "Write the value as the hint shows it.",
    ),
    ErrorCode.NOT_FOUND: ErrorMeaning(
        2,
        "Nothing has this name or number, or several things have it.",
        "`dispatcher campaign list` and `dispatcher account list` show the names.",
    ),
    ErrorCode.PATH: ErrorMeaning(
        2,
        "A file or a folder cannot be read or written, does not exist, or exists already.",
        "Check the path and its rights. Commands that write a file replace one with --force.",
    ),
    ErrorCode.NOT_BUILT: ErrorMeaning(
        2,
        "The command, option or format is documented but not available in this version.",
        "Do as the hint says, or wait for a later version.",
    ),
    ErrorCode.CONFIG: ErrorMeaning(
        2,
        "A key of the configuration is unknown, missing, or has a wrong value.",
        "Correct the place that the message names. `dispatcher init` writes a commented file.",
    ),
    ErrorCode.CONFIG_MISSING: ErrorMeaning(
        2,
        "There is no configuration at the places where one is looked for.",
        "Run `dispatcher init`, or name the file with --config or $DISPATCHER_CONFIG.",
    ),
    ErrorCode.CONFIG_FILE: ErrorMeaning(
        2,
        "The configuration file cannot be read, or is not valid TOML.",
        "Correct the line that the message names, and its rights.",
    ),
    ErrorCode.CONFIG_VARIABLE: ErrorMeaning(
        2,
        "The configuration names an environment variable that is not set, or is empty.",
        "Set the variable in the environment of this command and of the workers.",
    ),
    ErrorCode.CONFIG_SECRET: ErrorMeaning(
        2,
        "A file or a command that the configuration names for a secret gives none.",
        "Check the path and its rights; run the command as this user: it must print one line.",
    ),
    ErrorCode.REFUSED: ErrorMeaning(
        3,
        "A check refused the command. Nothing was sent or changed.",
        "Do as the hint says.",
    ),
    ErrorCode.FILE: ErrorMeaning(
        3,
        "The recipient file cannot be read as it is meant: its format, encoding, delimiter, "
        "header, a column or a row.",
        "Correct the file, or say how to read it: --encoding, --delimiter, --column.",
    ),
    ErrorCode.TEXT: ErrorMeaning(
        3,
        "The text cannot be sent as it is: empty, too long, unlike the provider's template, or "
        "with a placeholder that the file has no column for.",
        "Correct the text. --dry-run shows it as it will arrive; --normalize shortens it.",
    ),
    ErrorCode.SENDER: ErrorMeaning(
        3,
        "The sender or the template is missing, unknown to the provider, or not approved for "
        "this kind of campaign.",
        "`dispatcher account senders` and `templates` show what the provider has approved.",
    ),
    ErrorCode.BALANCE: ErrorMeaning(
        3,
        "What is left at the provider does not cover the campaign, which would be sent now.",
        "Top up the account, or send to fewer with --limit. `dispatcher account balance` shows it.",
    ),
    ErrorCode.TIME: ErrorMeaning(
        3,
        "The times or windows do not allow it: in the past, in the wrong order, or never open.",
        "Give another time, or change --window, --blackout or --expire-at.",
    ),
    ErrorCode.STATE: ErrorMeaning(
        3,
        "The campaign is in a state in which this cannot be done.",
        "`dispatcher campaign show` says its state, and what it waits for.",
    ),
    ErrorCode.REPEAT: ErrorMeaning(
        3,
        "The same was submitted before, or is being submitted right now. Nobody is texted twice "
        "by accident.",
        "Look at the campaign that the message names. --again submits the same on purpose.",
    ),
    ErrorCode.NOTHING: ErrorMeaning(
        3,
        "There is nobody to whom this applies.",
        "`dispatcher campaign show` has the counts, `campaign export` a line for every row.",
    ),
    ErrorCode.UNSUPPORTED: ErrorMeaning(
        3,
        "The account's provider cannot do this.",
        "Use an account that can: `dispatcher account list` shows what their providers can do.",
    ),
    ErrorCode.STORE: ErrorMeaning(
        1,
        "The store cannot be reached, is full, is of another version, or may not be written.",
        "Run `dispatcher doctor`. It names the store's problem and its remedy.",
    ),
    ErrorCode.STORE_BUSY: ErrorMeaning(
        1,
        "Another command or worker held the store for too long. Nothing was changed.",
        "Try again. If it stays so, look for a long transaction or a slow disk.",
    ),
    ErrorCode.STORE_DATA: ErrorMeaning(
        1,
        "The store does not take a value. Trying again does not help.",
        "Keep the message and report it; the input that caused it can be changed meanwhile.",
    ),
    ErrorCode.WITNESS: ErrorMeaning(
        1,
        "The file that remembers how far sending had come cannot be read. Nothing is sent.",
        "Give this user the right to read the file that the message names.",
    ),
    ErrorCode.UNKNOWN_END: ErrorMeaning(
        1,
        "The store went away while a campaign was being accepted: it may have been, or not.",
        "When the store is back: `dispatcher campaign list`. Submitting the same again is safe.",
    ),
    ErrorCode.BROKER: ErrorMeaning(
        1,
        "The Redis or Valkey server cannot be started or reached, or does not take keys.",
        "Start it, or correct `url` under [broker]. `dispatcher doctor` checks it.",
    ),
    ErrorCode.PROCESS: ErrorMeaning(
        1,
        "A process that `dispatcher up` or the demo needs has ended, or does not get ready.",
        "Read its last lines, which stand in the message.",
    ),
    ErrorCode.UNREACHABLE: ErrorMeaning(
        1,
        "No connection to the provider was made: nothing was sent. It is tried again by itself.",
        "Check the network, `base_url` and `proxy`.",
    ),
    ErrorCode.CREDENTIALS: ErrorMeaning(
        1,
        "The provider refuses the account's key.",
        "Correct the key, then `dispatcher account check` and `dispatcher account resume`.",
    ),
    ErrorCode.CREDIT: ErrorMeaning(
        1,
        "The balance at the provider does not cover the request.",
        "Top up the account at the provider. Sending continues by itself.",
    ),
    ErrorCode.THROTTLED: ErrorMeaning(
        1,
        "The provider says that there were too many requests. It is tried again by itself.",
        "If it happens often, lower the account's `requests_per_second`.",
    ),
    ErrorCode.PROVIDER_SETUP: ErrorMeaning(
        1,
        "The provider does not know the address, or refuses the size or the form of a request.",
        "Check `base_url` and the account's limits, then `dispatcher account resume`.",
    ),
    ErrorCode.CAMPAIGN_REFUSED: ErrorMeaning(
        1,
        "The provider refuses the campaign's sender, template or text. The campaign is paused.",
        "Have the sender or template approved, then `dispatcher campaign resume`.",
    ),
    ErrorCode.RECIPIENT_REFUSED: ErrorMeaning(
        1,
        "The provider refuses these recipients; for them this is final.",
        "`dispatcher campaign failures` explains the reason.",
    ),
    ErrorCode.DOUBT: ErrorMeaning(
        1,
        "The request may have been accepted although no clear answer came. It is not repeated.",
        "Compare with the provider's own list, then `dispatcher campaign resolve`.",
    ),
    ErrorCode.FAILED: ErrorMeaning(
        1,
        "The command could not do all that was asked.",
        "Do as the hint says.",
    ),
    ErrorCode.SYSTEM: ErrorMeaning(
        1,
        "The operating system refused something: a full disk, missing rights, a lost file.",
        "Check the path that the message names, its rights, and the disk.",
    ),
    ErrorCode.INTERNAL: ErrorMeaning(
        1,
        "A defect of this program. What is in the store is safe.",
        "Report it with the file that the hint names; it holds no numbers and no texts.",
    ),
}
