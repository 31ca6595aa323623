"""How the files that ship with adapterhub were made; not part of the wheel."""
