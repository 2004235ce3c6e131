from search.landscape import make_problem, random_trials

from autopeft.search.points.tried import Tried


def at(problem, rate, **changes):
    point = {**random_trials(problem, 1)[0].point, **changes, "training.learning_rate": rate}
    return problem.configure(point)


def rate(problem, unit):
    (branch, *_) = [b for b in problem.space.branches if b.name == branch_of(problem)]
    variable = next(p.variable for p in branch.parameters if p.name == "training.learning_rate")
    return variable.at(unit)


def branch_of(problem):
    return random_trials(problem, 1)[0].point["branch"]


def test_a_learning_rate_that_noise_cannot_tell_apart_was_tried():
    problem = make_problem()
    tried = Tried(problem, [at(problem, rate(problem, 0.5))])
    assert at(problem, rate(problem, 0.5)) in tried
    assert at(problem, rate(problem, 0.52)) in tried
    assert at(problem, rate(problem, 0.54)) not in tried


def test_another_network_at_the_same_learning_rate_was_not():
    problem = make_problem()
    one, *others = [trial.configuration for trial in random_trials(problem, 20)]
    tried = Tried(problem, [one])
    same = one.recipe["learning_rate"]
    for other in others:
        moved = type(other)(
            other.branch, other.architecture, {**other.recipe, "learning_rate": same}
        )
        assert (moved in tried) == (moved.architecture == one.architecture)


def test_a_rate_outside_every_range_is_compared_too():
    problem = make_problem()
    tried = Tried(problem)
    fixed = at(problem, rate(problem, 0.5))
    baseline = type(fixed)("house", fixed.architecture, {**fixed.recipe, "learning_rate": "auto"})
    tried.add(baseline)
    assert baseline in tried
    assert fixed not in tried
