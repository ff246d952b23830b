"""Experiments as data: one short YAML each, validated into frozen objects before anything else runs."""
