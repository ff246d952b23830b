"""Lets tests of all folders import what lies here."""
