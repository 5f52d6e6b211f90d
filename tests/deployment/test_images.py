"""The images themselves, where somebody asks for it: building and starting them takes minutes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.deployment.files import ROOT


@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    "GPUMON_TEST_IMAGES" not in os.environ, reason="takes minutes: set GPUMON_TEST_IMAGES to build images"
)
def test_the_images_do_what_the_document_says() -> None:
    assert subprocess.run([sys.executable, ROOT / "scripts" / "try-images"], check=False).returncode == 0
