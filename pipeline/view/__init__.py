"""A cube to pan around in: a map in the browser, served on this machine alone."""
