"""`train.py` and the files that it needs: a trial again, without autopeft.

The templates mirror `training/` step by step; that they give the same bits is the test of both.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from autopeft.domain.architecture import fingerprint
from autopeft.domain.describe import describe
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.recipe import trainer_arguments
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.configs import config_arguments, config_class
from autopeft.export.source import call, constant, literal, module_names
from autopeft.export.prepared import Prepared

_TEMPLATES = Path(__file__).with_name("templates")
_BY_TRAINER = {
    "transformers.Trainer": "train_classification.py.tmpl",
    "trl.SFTTrainer": "train_sft.py.tmpl",
}
_QUIET = ("disable_tqdm",)  # of the search, not of the recipe
_MODULE_LISTS = ("target_modules", "feedforward_modules")
