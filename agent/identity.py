"""Who this agent is: its worker id, its MQTT client id, and how it logs in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpumon.datafolder import DataFolder
from gpumon.errors import InvalidTopicError, SecretFileError, SettingError, StartError
from gpumon.files import ensure_secret, make_folder, read_secret, write_atomically
from gpumon.link import Credentials
from gpumon.settings import AgentSettings, Settings
from gpumon.topics import check_worker_id, default_worker_id


@dataclass(frozen=True, slots=True)
class Identity:
    """What an agent is known by, and the folder in which it keeps its state.

    The client id is random, so that nobody can guess it and take the session over, and kept, so that a reconnect
    replaces the dead connection (MQTT 3.1.1 section 3.1.4).
    """

    worker_id: str
    client_id: str
    credentials: Credentials | None
    folder: Path


def load_identity(settings: Settings) -> Identity:
    """Read who this agent is, making its folder and client id where there are none yet.

    Raises SettingError: for a worker id that is not allowed, or a secret that is missing or open to others.
    Raises StartError: when the data folder cannot be written.
    """
    worker_id = worker_id_of(settings)
    return identity(Path(settings.data), worker_id, credentials_of(settings.agent, worker_id))


def identity(data: Path, worker_id: str, credentials: Credentials | None) -> Identity:
    """Return the identity of the worker whose credentials are known already; its client id is kept under `data`.

    Raises StartError: when the data folder cannot be written.
    """
    folder = make_folder(DataFolder(data).agent(worker_id))
    return Identity(worker_id, ensure_secret(folder / "client-id"), credentials, folder)


def worker_id_of(settings: Settings) -> str:
    """Return the id that the settings give, else the one that was kept, else the one from the hostname.

    Raises SettingError: for one that is not allowed, or a kept one that cannot be read.
    """
    given = settings.agent.worker_id
    kept = DataFolder(Path(settings.data)).worker_id
    try:
        return check_worker_id(given) if given is not None else check_worker_id(kept.read_text().strip())
    except FileNotFoundError:
        return default_worker_id()
    except InvalidTopicError as error:
        raise SettingError(f"{kept if given is None else '--worker-id'}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{kept} cannot be read ({error}): remove it, or give --worker-id") from error


def keep_worker_id(settings: Settings, worker_id: str) -> None:
    """Let this be the worker's id from now on where none is given, whatever the hostname becomes; the first one stays.

    A container has another hostname each time it is made anew. Raises StartError: when the data folder cannot be
    written.
    """
    path = DataFolder(Path(settings.data)).worker_id
    if path.exists():
        return
    try:
        write_atomically(path, worker_id.encode() + b"\n")
    except OSError as error:
        raise StartError(f"{path} cannot be written ({error.strerror}): change the owner of its folder") from error


def credentials_of(settings: AgentSettings, worker_id: str) -> Credentials:
    """Return what this worker logs in with.

    Raises SettingError: for a secret that is missing or open to others.
    """
    if settings.username is None and settings.password_file is None:
        return Credentials(worker_id, _token(settings, worker_id))
    if settings.username is None or settings.password_file is None:
        missing = "--username" if settings.username is None else "--password-file"
        raise SettingError(f"--username and --password-file go together: {missing} is missing")
    try:
        return Credentials(settings.username, read_secret(Path(settings.password_file)))
    except SecretFileError as error:
        raise SettingError(f"--password-file: {error}") from error


def _token(settings: AgentSettings, worker_id: str) -> str:
    path = Path(settings.token_file)
    if not path.exists():
        raise SettingError(
            f"token file {path} is not there: run `gpumon join-key` on the master and start this with --join - to give "
            f"the line it prints; or run `gpumon worker add {worker_id}` there, copy the file it writes to this "
            "machine, and name it with --token-file"
        )
    try:
        return read_secret(path)
    except SecretFileError as error:
        raise SettingError(f"--token-file: {error}") from error
