"""Joining: from a join line to a token of one's own, and again where that token is not accepted any more."""

from __future__ import annotations

import logging
import queue
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.membership import Membership, load_membership
from gpumon.address import BrokerAddress
from gpumon.errors import InvalidPayloadError, SecretFileError, SettingError, StartError
from gpumon.files import ensure_secret, read_secret, write_atomically, write_secret
from gpumon.joining import JoinLine, JoinLineError, JoinReply, JoinRequest, is_join_line, parse_join_line
from gpumon.link import Credentials, InboundMessage, MqttLink
from gpumon.log import OncePer
from gpumon.messages import Decoder, encode
from gpumon.roles import STRANGER_NAME
from gpumon.settings import Settings
from gpumon.topics import Topics

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 10.0
_LOOK_S = 0.1
_STOP_LINK_S = 1.0


class JoinRefusedError(StartError):
    """The master, or its broker, does not let this machine join; the message says why."""

    see = "troubleshooting.md#a-machine-cannot-join"


def read_join_line(given: str) -> JoinLine:
    """Return the join line that `--join` gives, itself or as a file (mode 0600).

    Raises JoinLineError, SecretFileError: when there is none, or one that cannot be used.
    """
    if is_join_line(given):
        return parse_join_line(given)
    path = Path(given)
    with suppress(OSError):  # such as a line that lost its beginning: too long for a file's name, and not to be shown
        if path.exists() and not path.is_dir():
            return parse_join_line(read_secret(path))
    raise JoinLineError("--join gives neither a join line nor a file that is there: copy all of the line, or use -")


class Joining:
    """What one agent does to become a worker of a master, and to stay one."""

    def __init__(self, settings: Settings, worker_id: str, folder: Path) -> None:
        """Take the agent's settings, id, and the folder that it holds alone."""
        self.has_joined = False
        self._settings = settings
        self._worker_id = worker_id
        self._folder = folder
        self._token_file = Path(settings.agent.token_file)
        self._line: JoinLine | None = None

    def settings(self, stop: threading.Event) -> Settings | None:
        """Join where that is needed, and return the settings completed; None where `stop` was set meanwhile.

        A line is passed over where there is a token already, unless it leads to another master than that. Raises
        StartError: when the master does not let this machine join, or its token cannot be written; JoinLineError,
        SecretFileError; SettingError: when the CA cannot be used.
        """
        kept = load_membership(self._folder)
        present = kept.completed(self._settings, self._folder) if kept else self._settings
        if self._settings.agent.join is None or self._settings.agent.username is not None:
            return present
        has_token = self._token_file.exists()
        try:
            self._line = read_join_line(self._settings.agent.join)
            wanted = Membership.by(self._line, self._settings)
            if has_token and kept in (None, wanted):
                return present
            return wanted.completed(self._settings, self._folder) if self._join(wanted, stop) else None
        except (StartError, SettingError, SecretFileError) as error:
            if not has_token:
                raise
            logger.warning("%s; going on with the token in %s", error, self._token_file)
            self._line = None
            return present

    def join_again(self, address: BrokerAddress, stop: threading.Event) -> bool:
        """Try the line, once, where the broker refuses the token that there was; tell whether there is another now."""
        if self._line is None or Membership.by(self._line, self._settings).address != address:
            return False
        try:
            return self._join(Membership.by(self._line, self._settings), stop)
        except (StartError, SettingError, SecretFileError) as error:
            logger.warning("%s", error)
            return False

    def _join(self, wanted: Membership, stop: threading.Event) -> bool:
        """Join, keep what comes of it, and forget the key; False where `stop` was set meanwhile."""
        line, self._line = self._line, None
        assert line is not None  # noqa: S101 - read by whoever calls this  # nosec B101
        nonce_file = self._folder / "join-nonce"
        try:
            nonce = ensure_secret(nonce_file)
            self._token_file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._token_file.parent):  # before the key is used
                pass
            with self._cafile(wanted) as cafile:
                token = ask_to_join(line, wanted, cafile, worker_id=self._worker_id, nonce=nonce, stop=stop)
            if token is None:
                return False
            wanted.save(self._folder)
            write_secret(self._token_file, token)
            nonce_file.unlink(missing_ok=True)
        except OSError as error:
            raise StartError(f"what joining needs cannot be written: {error}") from error
        self.has_joined = True
        logger.info("joined %s as %s; its token is in %s", wanted.master, self._worker_id, self._token_file)
        return True

    @contextmanager
    def _cafile(self, wanted: Membership) -> Iterator[Path | None]:
        """Give a file with the CA to verify the broker with; the one of an earlier joining stays until this is done."""
        if self._settings.agent.cafile is not None or wanted.ca is None:
            yield Path(self._settings.agent.cafile) if self._settings.agent.cafile else None
            return
        path = self._folder / "ca-to-join.crt"
        write_atomically(path, wanted.ca.encode())
        try:
            yield path
        finally:
            path.unlink()


def ask_to_join(
    line: JoinLine, wanted: Membership, cafile: Path | None, *, worker_id: str, nonce: str, stop: threading.Event
) -> str | None:
    """Ask until there is an answer, and return the token; None where `stop` was set meanwhile.

    An answer may be lost, or the master not be there: the same question is asked again. Raises JoinRefusedError.
    """
    client_id = line.client_id or f"gpumon-join-{secrets.token_hex(16)}"
    topics = Topics(wanted.base)
    replies: queue.Queue[JoinReply] = queue.Queue()
    decoder = Decoder(JoinReply)

    def received(message: InboundMessage) -> None:
        try:
            reply = decoder.decode(message.payload)
        except InvalidPayloadError as error:
            logger.warning("an answer to joining is ignored: %s", error)
            return
        if reply.worker_id in (None, worker_id):
            replies.put(reply)

    link = MqttLink(wanted.address, client_id, Credentials(line.username or STRANGER_NAME, line.key), cafile)
    link.subscribe(topics.join_reply(client_id), 1, received)
    request = encode(JoinRequest(worker_id=worker_id, hostname=socket.gethostname()[:256], key=line.key, nonce=nonce))
    link.start()
    try:
        return _asked(link, topics.join_request(client_id), request, replies, stop)
    finally:
        link.stop(_STOP_LINK_S)


def _asked(
    link: MqttLink, topic: str, request: bytes, replies: queue.Queue[JoinReply], stop: threading.Event
) -> str | None:
    ask_at: float | None = None
    due = OncePer(60.0)
    while not stop.is_set():
        with suppress(queue.Empty):
            reply = replies.get(timeout=_LOOK_S)
            if reply.token is None:
                raise JoinRefusedError(f"the master at {link.address} does not let this machine join: {reply.error}")
            return reply.token
        if link.is_login_refused:
            raise JoinRefusedError(
                f"the broker at {link.address} does not accept the join key: it is used up, has expired or was "
                "revoked; make another on the master with gpumon join-key"
            )
        if not link.is_listening:
            ask_at = None
        elif ask_at is None or time.monotonic() >= ask_at:
            if ask_at is not None and due("unanswered"):
                logger.warning("no answer from the master behind %s yet: does it run? Asking again", link.address)
            link.publish(topic, request, qos=1)
            ask_at = time.monotonic() + ASK_AGAIN_S
    return None
