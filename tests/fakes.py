"""Fakes behind the ports, for tests of logic: a store in memory, a model of six layers, a trainer
that computes its metrics."""

import uuid
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from autopeft.domain.architecture import canonical, fingerprint
from autopeft.domain.errors import StudyError
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import Objective
from autopeft.domain.ports import Event, Problem, StudyRecord, Suggestion
from autopeft.domain.roles import block_role_of, role_of
from autopeft.domain.space import Branch, Choice, Range, Space
from autopeft.domain.study import Budget, Confirm, Resources, Rungs, SearchSettings, StudySpec
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Trial

LORA = {
    "modules": [
        {
            "peft_type": "LORA",
            "r": Choice((1, 2, 4, 8, 16, 32)),
            "target_modules": ["query", "value"],
        }
    ],
    "layers": {"last": Choice((1, 2, 3, 6))},
    "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
}
IA3 = {
    "modules": [
        {"peft_type": "IA3", "target_modules": ["query", "value"], "feedforward_modules": []}
    ],
    "training": {"learning_rate": Range(1e-4, 1e-1, log=True)},
}
HOUSE = {
    "modules": [{"peft_type": "LORA", "r": 8, "target_modules": "all-linear"}],
    "training": {"learning_rate": Range(1e-5, 1e-2, log=True)},
}


def linear(
    stack: str, layer: int, kind: str, inputs: int, outputs: int, *, bias: bool
) -> TargetModule:
    """A linear map in a layer of a stack, as `bert.encoder.layer`."""
    return TargetModule(
        name=f"{stack}.{layer}.{kind}",
        layer=layer,
        kind=kind,
        type="Linear",
        inputs=inputs,
        outputs=outputs,
        parameters=inputs * outputs + outputs * bias,
        bias=bias,
        role=role_of(kind),
    )


def bert_shape(layers: int = 6, width: int = 64) -> ModelShape:
    """The shape of a small BERT."""
    modules = tuple(
        linear("bert.encoder.layer", layer, kind, inputs, outputs, bias=True)
        for layer in range(layers)
        for kind, inputs, outputs in (
            ("attention.self.query", width, width),
            ("attention.self.key", width, width),
            ("attention.self.value", width, width),
            ("attention.output.dense", width, width),
            ("intermediate.dense", width, 4 * width),
            ("output.dense", 4 * width, width),
        )
    )
    blocks = tuple(
        TargetModule(
            name=f"bert.encoder.layer.{layer}.{kind}",
            layer=layer,
            kind=kind,
            type=type_name,
            inputs=width,
            outputs=width,
            parameters=sum(m.parameters for m in modules if m.kind.startswith(kind)) // layers,
            bias=False,
            role=block_role_of(kind),
        )
        for layer in range(layers)
        for kind, type_name in (("attention.self", "BertSelfAttention"), ("output", "BertOutput"))
    )
    return ModelShape(
        model_type="bert",
        layers=layers,
        modules=modules,
        kv_width=width,
        head=("classifier",),
        head_parameters=2 * width + 2,
        total_parameters=sum(m.parameters for m in modules) + 2 * width + 2,
        blocks=blocks,
    )


def study_spec(
    *,
    trials: int | None = 12,
    rungs: Rungs | None = None,
    branches: Mapping[str, Mapping] | None = None,
    baselines: Mapping[str, Mapping] | None = None,
    parallel: int = 1,
    seed: int = 0,
    name: str = "fake",
    wall_hours: float | None = None,
    gpu_hours: float | None = None,
    confirm: Confirm | None = None,
) -> StudySpec:
    """A study of two branches and a baseline that needs no file."""
    found = [
        Branch(n, t)
        for n, t in ({"lora": LORA, "ia3": IA3} if branches is None else branches).items()
    ]
    found += [
        Branch(n, t, baseline=True)
        for n, t in ({"house": HOUSE} if baselines is None else baselines).items()
    ]
    return StudySpec(
        name=name,
        model={"model_name_or_path": "fake", "task_type": "SEQ_CLS"},
        trainer="transformers.Trainer",
        data={},
        training={"num_train_epochs": 9},
        space=Space(tuple(found)),
        objectives=(
            Objective("accuracy", "maximize"),
            Objective("adapter_params", "minimize", scale="log"),
        ),
        constraints=(),
        budget=Budget(trials=trials, wall_hours=wall_hours, gpu_hours=gpu_hours),
        resources=Resources(),
        search=SearchSettings(sampler="random", parallel=parallel, rungs=rungs, seed=seed),
        document={"study": name},
        confirm=confirm,
    )


def fake_problem(spec: StudySpec, shape: ModelShape | None = None) -> Problem:
    shape = shape or bert_shape()

    def configure(point):
        return canonical(
            spec.space.realise(point),
            branch=point["branch"],
            shape=shape,
            training=spec.training,
            defaults={"LORA": {"target_modules": None}, "IA3": {"target_modules": None}},
        )

    return Problem(
        space=spec.space,
        objectives=spec.objectives,
        constraints=spec.constraints,
        shape=shape,
        configure=configure,
        known=partial(known_metrics, shape=shape),
    )


class RandomSampler:
    """Draws at random; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def suggest(self, problem: Problem, history: Sequence[Trial], *, seed: int) -> Suggestion:
        self.calls += 1
        return Suggestion(problem.space.draw(np.random.default_rng(seed)), "random")


class MemoryStore:
    """The store's contract in memory."""

    def __init__(self) -> None:
        self.records: dict[str, StudyRecord] = {}
        self.trials: dict[str, dict[int, Trial]] = {}
        self.events: dict[str, list[Event]] = {}
        self.taken: dict[str, set[int]] = {}
        self.facts: dict[str, dict[str, str]] = {}
        self.broken = False
        self._identity = uuid.uuid4().hex

    def create(self, record: StudyRecord) -> None:
        if record.name in self.records:
            raise StudyError(f"study {record.name!r} exists")
        self.records[record.name] = record
        self.trials[record.name], self.events[record.name] = {}, []
        self.taken[record.name], self.facts[record.name] = set(), {}

    def update(self, record: StudyRecord) -> None:
        self.records[record.name] = record

    def delete(self, name: str) -> None:
        for kept in (self.records, self.trials, self.events, self.taken, self.facts):
            kept.pop(name)

    def study(self, name: str) -> StudyRecord:
        return self.records[name]

    def studies(self) -> Sequence[StudyRecord]:
        return list(self.records.values())

    def identity(self) -> str:
        return self._identity

    def history(self, name: str) -> tuple[Trial, ...]:
        return tuple(self.trials[name][n] for n in sorted(self.trials[name]))

    def commit(
        self,
        name: str,
        trials: Sequence[Trial],
        events: Sequence[Event],
        *,
        held: tuple[str, str] | None = None,
    ) -> None:
        if self.broken:
            raise OSError("the disk is full")
        if held is not None and self.facts[name].get(held[0]) != held[1]:
            raise StudyError(f"study {name!r} was taken over")
        for trial in trials:
            before = self.trials[name].get(trial.number)
            if before is not None and trial.rungs[: len(before.rungs)] != before.rungs:
                raise StudyError(f"trial {trial.number} was told another result")
            self.trials[name][trial.number] = trial
        self.events[name] += events

    def undelivered(self, name: str, limit: int) -> Sequence[tuple[int, Event]]:
        left = [(i, e) for i, e in enumerate(self.events[name]) if i not in self.taken[name]]
        return left[:limit]

    def delivered(self, name: str, ids: Sequence[int]) -> None:
        self.taken[name] |= set(ids)

    def remember(self, name: str, key: str, value: str) -> None:
        self.facts[name][key] = value

    def recall(self, name: str) -> Mapping[str, str]:
        return dict(self.facts[name])

    def everywhere(self, key: str) -> Mapping[str, str]:
        return {name: facts[key] for name, facts in self.facts.items() if key in facts}

    def swap(self, name: str, key: str, expected: str | None, value: str | None) -> bool:
        facts = self.facts[name]
        if facts.get(key) != expected:
            return False
        facts.pop(key, None)
        if value is not None:
            facts[key] = value
        return True


class FakeEvaluator:
    """Accuracy that peaks at a learning rate, grows with size, and with training."""

    def __init__(self, *, fail_above: float | None = None, noise: float = 0.0) -> None:
        """noise: standard deviation of what another seed of a configuration changes."""
        self.ran: list[Segment] = []
        self._fail_above = fail_above
        self._noise = noise

    def run(self, segment: Segment, report) -> Result | Failure:
        self.ran.append(segment)
        rate = segment.configuration.recipe["learning_rate"]
        if self._fail_above is not None and rate > self._fail_above:
            return Failure(FailureReason.NOT_FINITE, f"loss is nan at {rate}")
        size = sum(
            len(m.targets) * (m.size or 1) for m in segment.configuration.architecture.modules
        )
        share = 1.0 if segment.last else (segment.stop.epochs or 1) / 9
        accuracy = 0.5 + 0.3 * share * np.exp(-((np.log10(rate) + 3) ** 2)) * size / (size + 8)
        drawn = int(fingerprint([segment.configuration.key, segment.seed]), 16)
        luck, other = np.random.default_rng(drawn).normal(0.0, self._noise, 2)
        return Result(
            step=int(100 * share),
            metrics={"accuracy": float(accuracy + luck), "eval_loss": float(1 - accuracy)},
            stderr={"accuracy": 0.01},
            seconds=1.0,
            test={"accuracy": float(accuracy + other)} if segment.test else {},
            test_stderr={"accuracy": 0.02} if segment.test else {},
        )


def drive(session, evaluator, *, limit: int = 1000) -> int:
    """Ask and tell until the study ends; returns how many segments ran."""
    ran = 0
    while ran < limit and (segment := session.ask()) is not None:
        session.tell(segment, evaluator.run(segment, lambda step, metrics: None))
        ran += 1
    return ran


def record_of(spec: StudySpec) -> StudyRecord:
    return StudyRecord(spec.name, spec.document, spec.folder, 0.0, "running")
