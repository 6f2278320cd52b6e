"""`python -m workingpapers`."""

from workingpapers.cli import main

main()
