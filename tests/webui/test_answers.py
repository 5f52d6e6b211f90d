"""With which status an error of the master is answered."""

from __future__ import annotations

import pytest

from gpumon.errors import GpumonError
from master.accounts import AccountError
from master.commands import NotAllowedError
from master.dynamic_security import DynamicSecurityError
from master.store.engine import StoreError
from webui.answers import status_and_text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AccountError("the name is taken"), 422),
        (NotAllowedError("not on this worker"), 403),
        (StoreError("database /secret/path: broken"), 503),
        (DynamicSecurityError("connection refused; accounts cannot be changed without it"), 503),
    ],
)
def test_what_is_not_the_askers_fault_is_answered_as_that(error: GpumonError, status: int) -> None:
    found, text = status_and_text(error)
    assert found == status
    assert "/secret/path" not in text
