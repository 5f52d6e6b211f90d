"""The exceptions that gpumon raises itself; each message says what was wrong and what to do about it."""


class GpumonError(Exception):
    """Anything that gpumon gives up on; the command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class SettingError(GpumonError):
    """A flag, environment variable or line of `gpumon.toml` that cannot be used; starting again will not help."""

    exit_code = 2


class StartError(GpumonError):
    """A part cannot start where it is (a port in use, a folder that cannot be written); starting again may not help."""

    exit_code = 3


class InvalidPayloadError(GpumonError):
    """A message that is not what its topic promises."""


class InvalidTopicError(GpumonError):
    """A worker id or topic that the contract does not allow."""


class SecretFileError(GpumonError):
    """A file with a secret in it is missing, or others may read it."""

    exit_code = 2
