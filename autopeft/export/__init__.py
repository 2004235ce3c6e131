"""A configuration as files that train and load without autopeft."""

from autopeft.export.adapter import export_adapter
from autopeft.export.configs import peft_config
from autopeft.export.converted import export_converted
from autopeft.export.folder import export_trial
from autopeft.export.prepared import Prepared
from autopeft.export.recipes import RECIPES, export_recipe
from autopeft.export.suite import export_suite

__all__ = [
    "RECIPES",
    "Prepared",
    "export_adapter",
    "export_converted",
    "export_recipe",
    "export_suite",
    "export_trial",
    "peft_config",
]
