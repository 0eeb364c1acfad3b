"""`python -m detattack`."""

from detattack.cli import main

main()
