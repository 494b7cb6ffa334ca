"""Getting a picture from an address that a stranger wrote into a file, without being led anywhere inside."""
