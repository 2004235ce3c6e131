from dataclasses import replace

import numpy as np
import pytest
from search.landscape import IA3, make_problem, random_trials

from autopeft.domain.architecture import Configuration
from autopeft.domain.space import Bits, Branch, Choice, Range, Space
from autopeft.search.model.encoding import Encoding, features, module_size, named


def fitted(problem, count=40):
    configurations = [trial.configuration for trial in random_trials(problem, count)]
    return Encoding.fit(problem, configurations), configurations


def test_two_spellings_of_a_network_are_one_vector():
    lists = Branch("lists", tree(["query", "value"]))
    words = Branch("words", tree(["value", "attention.self.query"], lora_alpha=8, r=8))
    problem = make_problem(Space((lists, words, IA3)))
    encoding, _ = fitted(problem, 12)
    one = problem.configure({"branch": "lists", "modules[0].r": 1, **rate(1e-3)})
    other = problem.configure({"branch": "words", **rate(1e-3)})
    assert one == other
    np.testing.assert_array_equal(*encoding.encode([one, other]))


def tree(targets, **fields):
    module = {"peft_type": "LORA", "r": Choice((4, 8)), "target_modules": targets, **fields}
    return {"modules": [module], "training": {"learning_rate": Range(1e-5, 1e-2, log=True)}}


def rate(value):
    return {"training.learning_rate": value}


def test_different_configurations_are_different_vectors():
    encoding, configurations = fitted(make_problem(), 60)
    assert len(np.unique(encoding.encode(configurations), axis=0)) == 60


def test_who_is_in_which_layers_is_told_of_two_modules_of_one_method():
    def lora(kind, layers):
        return {
            "peft_type": "LORA",
            "r": 8,
            "target_modules": kind,
            "layers": {"bits": Bits(layers)},
        }

    pair = {"modules": [lora("query", 6), lora("value", 6)]}
    problem = make_problem(Space((Branch("pair", pair),)))
    first, last = (1, 1, 0, 0, 0, 0), (0, 0, 0, 0, 1, 1)
    names = ("modules[0].layers.bits", "modules[1].layers.bits")
    one, other = (
        problem.configure({"branch": "pair", **dict(zip(names, bits, strict=True))})
        for bits in ((first, last), (last, first))
    )
    assert named(problem, one) != named(problem, other)


def test_fitted_vectors_lie_in_the_unit_cube_and_no_column_is_constant_or_a_copy():
    encoding, configurations = fitted(make_problem())
    X = encoding.encode(configurations)
    assert X.min() >= 0
    assert X.max() <= 1
    assert (np.ptp(X, axis=0) > 0).all()
    assert len(np.unique(X, axis=1).T) == X.shape[1]


def test_fields_of_another_method_are_zero():
    encoding, configurations = fitted(make_problem())
    lora = [i for i, c in enumerate(encoding.columns) if "LORA" in c.name]
    ia3 = [c for c in configurations if c.branch == "ia3"]
    assert lora
    assert not encoding.encode(ia3)[:, lora].any()


def test_a_log_range_is_encoded_on_its_logarithm():
    problem = make_problem(Space((IA3,)))
    encoding, _ = fitted(problem)
    (column,) = [c for c in encoding.columns if c.name == "recipe:learning_rate"]
    assert column.place(1e-2) - column.place(1e-3) == pytest.approx(
        column.place(1e-3) - column.place(1e-4)
    )


def test_a_size_at_pefts_default_counts_though_the_canonical_module_leaves_it_out():
    problem = make_problem()
    point = {"branch": "lora", "modules[0].r": 3, "modules[0].target_modules": 0}
    point |= {"layers.bits": (0, 0, 1, 1, 0, 0), **rate(1e-3)}
    configuration = problem.configure(point)
    (module,) = configuration.architecture.modules
    assert "r" not in module.fields
    assert module.size == module_size(module) == 8
    known = problem.known(configuration.architecture)
    row = features(configuration, problem.shape, known)
    assert row["size:LORA"] == pytest.approx(np.log2(9))
    assert row["depth:count"] == pytest.approx(2 / 6)
    assert row["depth:centroid"] == pytest.approx(0.5)
    assert "layer:1" not in row


def test_the_branch_is_not_part_of_the_vector():
    problem = make_problem()
    encoding, configurations = fitted(problem)
    other = replace(configurations[0], branch="renamed")
    assert isinstance(other, Configuration)
    np.testing.assert_array_equal(*encoding.encode([configurations[0], other]))
