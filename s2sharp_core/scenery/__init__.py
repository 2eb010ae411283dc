"""Scenery that landscapes are drawn with: spectra of covers, shapes of land, and who paints what on them."""
