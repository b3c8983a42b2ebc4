"""Tasks and graphs: building them (`delayed`), naming, ordering and simplifying them. Pure: runs nothing itself."""
