"""Localising on many machines, through Ray Data: `stn-coloc localise --engine ray`."""
