"""A configuration as files that train and load without autopeft."""

from autopeft.export.configs import peft_config
from autopeft.export.folder import export_trial
from autopeft.export.prepared import Prepared

__all__ = ["Prepared", "export_trial", "peft_config"]
