"""`python -m workingpapers.cli`."""

from ._main import main

main()
