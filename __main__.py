"""`python -I DIR` runs an unpacked tree without installation, as an air-gapped node needs it."""

from bundle.cli.main import main

main()
