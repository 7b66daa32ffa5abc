"""Intake, screening, consent and booking for skin clinics, mounted in any Flask site."""
