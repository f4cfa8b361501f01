"""`python -I -m bundle.cli` is the command `pulk` where no script is installed."""

from bundle.cli.main import main

main()
