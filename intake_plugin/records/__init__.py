"""The plugin's own tables, encryption and audit chain."""
