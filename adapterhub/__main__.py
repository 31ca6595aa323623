"""`python -m adapterhub` is the command `adapterhub`."""

from adapterhub.cli import main

main()
