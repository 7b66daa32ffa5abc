"""From appointments to iCalendar octets. Pure."""
