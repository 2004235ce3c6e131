"""A configuration as files that train and load without autopeft."""

from autopeft.export.configs import peft_config
from autopeft.export.folder import Prepared, export_trial

__all__ = ["Prepared", "export_trial", "peft_config"]
