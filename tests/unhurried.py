"""Hypothesis without a clock: a busy machine must not fail a test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Decorates a test by itself, or as the first argument of ``settings``."""
