"""Many acquisitions → one picture per period, on one grid, whatever the EPSG codes of the cube."""
