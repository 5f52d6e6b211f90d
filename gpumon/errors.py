"""The exceptions that gpumon raises itself; each message says what was wrong and what to do about it."""

from __future__ import annotations

from typing import ClassVar

# The project's folder of documents, as people find it in the repository and on its page.
DOCS = "docs/"


class GpumonError(Exception):
    """Anything that gpumon gives up on; the command line prints it as one line and exits with `exit_code`.

    `see` is the section of the documents, below `DOCS`, that says more; every class below names one.
    """

    exit_code = 1
    see: ClassVar[str] = "troubleshooting.md"

    @property
    def more(self) -> str:
        """Where the documents say more, as it is shown to people."""
        return f"{DOCS}{self.see}"


class SettingError(GpumonError):
    """A flag, environment variable or line of `gpumon.toml` that cannot be used; starting again will not help."""

    see = "troubleshooting.md#a-setting-cannot-be-used"
    exit_code = 2


class StartError(GpumonError):
    """A part cannot start where it is (a port in use, a folder that cannot be written); starting again may not help."""

    see = "troubleshooting.md#it-does-not-start"
    exit_code = 3


class InvalidPayloadError(GpumonError):
    """A message that is not what its topic promises."""

    see = "troubleshooting.md#a-client-or-message-is-refused"


class InvalidTopicError(GpumonError):
    """A worker id or topic that the contract does not allow."""

    see = "troubleshooting.md#a-client-or-message-is-refused"


class SecretFileError(GpumonError):
    """A file with a secret in it is missing, or others may read it."""

    see = "troubleshooting.md#a-secret-file-is-refused"
    exit_code = 2
