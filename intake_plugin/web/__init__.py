"""Thin views: patient, staff, and question to form field."""
