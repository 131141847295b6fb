"""`python -m somamemory`: the same as `somamemory`."""

from somamemory.cli import main

if __name__ == "__main__":
    main()
