"""Writers of the formats of the field, one file each, all from the same record."""
