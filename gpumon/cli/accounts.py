"""The accounts as subcommands open them: another broker is told of changes where the settings ask for that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpumon.cli.connection import masters_way_in
from gpumon.datafolder import DataFolder
from gpumon.settings import Settings
from master.account_mirror import AccountMirror
from master.accounts import Accounts, open_accounts
from master.foreign_access import foreign_access


@contextlib.contextmanager
def accounts_of(settings: Settings, data: DataFolder) -> Iterator[Accounts]:
    """Give the accounts of a data folder to a process that is no master.

    Raises StartError, and SettingError or SecretFileError: when the other broker's account cannot be used.
    """
    with account_mirror(settings, data) as mirror, open_accounts(data, mirror) as accounts:
        yield accounts


@contextlib.contextmanager
def account_mirror(settings: Settings, data: DataFolder) -> Iterator[AccountMirror | None]:
    """Give what is told of every change of an account, None for the embedded broker, which needs no telling.

    Raises SettingError, SecretFileError: when the other broker's account cannot be used.
    """
    mirror = foreign_access(settings, *masters_way_in(settings, data))
    try:
        yield mirror
    finally:
        if mirror is not None:
            mirror.stop()
