"""`python -m kinetics_tools` is the `kinetics` command."""

from kinetics_tools.cli.app import main

if __name__ == "__main__":  # a process that a verb starts reads this module, too
    main()
