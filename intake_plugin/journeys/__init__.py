"""The use cases. The only code that locks or commits."""
