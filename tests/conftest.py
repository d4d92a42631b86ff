"""Hypothesis without a deadline: time is a matter of benchmarks, and machines are busy."""

from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
