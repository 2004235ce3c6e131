"""autopeft: multi-objective search over PEFT configurations."""

__version__ = "0.1.0"
