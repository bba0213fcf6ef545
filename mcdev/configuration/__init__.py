"""A configuration: read, checked as a whole, changed, swept over."""
