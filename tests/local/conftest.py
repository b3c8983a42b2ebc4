from __future__ import annotations

from myscheduler.local import register_all

register_all()
