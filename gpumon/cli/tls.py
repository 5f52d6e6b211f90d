"""The TLS that `gpumon broker` and `gpumon master` serve other machines with, as the settings ask for it."""

from __future__ import annotations

import functools
from pathlib import Path

from broker.server_tls import LOOKED_AFTER_EVERY_S, CertificateSource, GivenCertificate, OwnCertificate, ServerTls
from gpumon.address import is_for_every_address
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.machine import machine_names
from gpumon.settings import Settings

__all__ = ["LOOKED_AFTER_EVERY_S", "ServerTls", "certificate_names", "server_tls"]


def server_tls(settings: Settings, data: DataFolder) -> ServerTls:
    """Return the certificate that `--cert` and `--key` give, else that of gpumon's own authority; nothing is read yet.

    Raises SettingError: when only one of the two is given.
    """
    return ServerTls(_source(settings, data))


def certificate_names(settings: Settings) -> list[str]:
    """Return the names and addresses that gpumon's own certificate is for."""
    host = [] if settings.host is None or is_for_every_address(settings.host) else [settings.host]
    return [*settings.tls.names, *host, *machine_names()]


def _source(settings: Settings, data: DataFolder) -> CertificateSource:
    certificate, key = settings.tls.cert, settings.tls.key
    if certificate is not None and key is not None:
        return GivenCertificate(Path(certificate), Path(key))
    if certificate is not None or key is not None:
        missing = "--key" if key is None else "--cert"
        raise SettingError(f"--cert and --key go together: {missing} is missing")
    return OwnCertificate(data.certificates, functools.partial(certificate_names, settings))
