"""Our version, without asking the installed metadata: that takes longer than all our imports."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
