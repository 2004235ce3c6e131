"""Specifications to objects: with `builders`, the only place that names concrete classes.

Heavy libraries are imported when a function needs them, so that `validate` of a wrong file and
`front` of an old study answer at once.
"""

from autopeft.builders.exports import (
    export,
    export_as,
    export_optuna,
    export_suite,
    peft_config,
    push,
)
from autopeft.builders.imports import ImportedStudy, import_study
from autopeft.builders.logged import log_model
from autopeft.builders.needs import needs
from autopeft.builders.places import adapter_folder, delete_study, place_of
from autopeft.builders.problems import bound, check_own_code, own_shape, problem, shape_of
from autopeft.builders.reach import check_reach
from autopeft.builders.searches import (
    Search,
    check_sampler,
    make_evaluator,
    open_search,
    open_store,
    sampler_options,
    store_remarks,
)
from autopeft.builders.tracked import (
    StudyExplorers,
    deliver,
    modelled,
    store_metrics,
    study_explorer,
)

__all__ = [
    "ImportedStudy",
    "Search",
    "StudyExplorers",
    "adapter_folder",
    "bound",
    "check_own_code",
    "check_reach",
    "check_sampler",
    "delete_study",
    "deliver",
    "export",
    "export_as",
    "export_optuna",
    "export_suite",
    "import_study",
    "log_model",
    "make_evaluator",
    "modelled",
    "needs",
    "open_search",
    "open_store",
    "own_shape",
    "peft_config",
    "place_of",
    "problem",
    "push",
    "sampler_options",
    "shape_of",
    "store_metrics",
    "store_remarks",
    "study_explorer",
]
