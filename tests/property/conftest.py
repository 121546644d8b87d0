"""How many examples: enough for a run of seconds here, many more when asked for with HYPOTHESIS_PROFILE=long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("short", max_examples=250, deadline=None, suppress_health_check=_quiet, print_blob=True)
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
