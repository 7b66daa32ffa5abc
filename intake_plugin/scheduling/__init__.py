"""From opening hours to slots and series. Pure: instants in, proposals out."""
