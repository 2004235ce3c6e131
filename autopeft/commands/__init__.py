"""The verbs of the command line, by what they do; `autopeft.cli` registers them."""
