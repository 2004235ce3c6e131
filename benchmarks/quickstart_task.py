"""Is fine-tuning worth something on the quickstart's task?

    python benchmarks/quickstart_task.py            # about 9 minutes on 4 cores

Frozen: logistic regression, converged, on the encoder's states of the pair (CLS and mean pooling),
on features of the two texts apart (difference, product, cosine), and on TF-IDF of words and pairs.
Tuned: configurations of the quickstart's space, 3 seeds each, full length, validation accuracy.
"""

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np

from autopeft import build, config
from autopeft.domain.trial import Segment, Stop

SPACE = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
SEEDS = (0, 1, 2)
CANDIDATES = {
    "LoRA r=8 q,v, lr 5e-4 (a usual default)": {
        "branch": "house",
        "training.learning_rate": 5e-4,
    },
    "LoRA r=16 all linear, lr 2e-3": {
        "branch": "lora",
        "layers.last": 2,
        "modules[0].r": 3,
        "modules[0].target_modules": 2,
        "training.learning_rate": 2e-3,
    },
    "LoRA r=32 all linear, last 4 layers, lr 4e-4": {
        "branch": "lora",
        "layers.last": 1,
        "modules[0].r": 4,
        "modules[0].target_modules": 2,
        "training.learning_rate": 4e-4,
    },
    "LoRA r=2 q,k,v, last 2 layers, lr 2e-3": {
        "branch": "lora",
        "layers.last": 0,
        "modules[0].r": 0,
        "modules[0].target_modules": 1,
        "training.learning_rate": 2e-3,
    },
    "IA3 k,v,output, lr 3e-2": {
        "branch": "ia3",
        "layers.last": 2,
        "modules[0].target_modules": 0,
        "training.learning_rate": 3e-2,
    },
}


def tuned(job: tuple[str, int]) -> tuple[str, float, float]:
    name, seed = job
    spec, shape = build.bound(config.load(SPACE))
    configuration = build.problem(spec, shape).configure(CANDIDATES[name])
    with tempfile.TemporaryDirectory() as folder:
        evaluator = build.make_evaluator(spec, Path(folder))
        segment = Segment(spec.name, 0, configuration, seed, 0, Stop(), False, True)
        result = evaluator.run(segment, lambda step, metrics: None)
    return name, result.metrics["accuracy"], result.stderr["accuracy"]


def frozen() -> dict[str, float]:
    import torch
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from transformers import AutoModel, AutoTokenizer

    from autopeft.training.loading.data import load_data
    from autopeft.training.loading.model import resolve_model

    spec = config.load(SPACE)
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    path = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    model, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)

    def states(*texts):
        first, mean = [], []
        for i in range(0, len(texts[0]), 64):
            batch = tokenizer(
                *(list(t[i : i + 64]) for t in texts),
                truncation=True,
                max_length=spec.data["max_length"],
                padding=True,
                return_tensors="pt",
            )
            with torch.no_grad():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            first.append(hidden[:, 0])
            mean.append((hidden * mask).sum(1) / mask.sum(1))
        return torch.cat(first).numpy(), torch.cat(mean).numpy()

    def score(train, validation, scale=True):
        steps = [StandardScaler()] if scale else []
        fit = make_pipeline(*steps, LogisticRegressionCV(Cs=np.logspace(-4, 2, 7), max_iter=2000))
        fit.fit(train, data.train["label"])
        return float(fit.score(validation, data.validation["label"]))

    features = {}
    for split in (data.train, data.validation):
        pair = states(split["text"], split["text_pair"])
        a, b = states(split["text"])[1], states(split["text_pair"])[1]
        cosine = (a * b).sum(1, keepdims=True) / (
            np.linalg.norm(a, axis=1, keepdims=True) * np.linalg.norm(b, axis=1, keepdims=True)
        )
        apart = np.hstack([np.abs(a - b), a * b, cosine])
        for name, value in (("CLS", pair[0]), ("mean", pair[1]), ("apart", apart)):
            features.setdefault(name, []).append(value)
    joined = [
        [f"{x} [SEP] {y}" for x, y in zip(s["text"], s["text_pair"], strict=True)]
        for s in (data.train, data.validation)
    ]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
    tfidf = (words.fit_transform(joined[0]), words.transform(joined[1]))
    return {
        "frozen, logistic regression on CLS of the pair": score(*features["CLS"]),
        "frozen, logistic regression on mean pooling of the pair": score(*features["mean"]),
        "frozen, features of the two texts apart": score(*features["apart"]),
        "TF-IDF (words and pairs), logistic regression": score(*tfidf, scale=False),
    }


def main() -> None:
    rows = [(name, value, None) for name, value in frozen().items()]
    jobs = [(name, seed) for name in CANDIDATES for seed in SEEDS]
    with multiprocessing.get_context("spawn").Pool(4, maxtasksperchild=1) as pool:
        results = pool.map(tuned, jobs, chunksize=1)
    for name in CANDIDATES:
        values = [accuracy for job, accuracy, _ in results if job == name]
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        rows.append((name, float(np.mean(values)), float(error)))
    print("| | validation accuracy |\n|---|---|")
    for name, value, error in rows:
        print(f"| {name} | {value:.3f}{'' if error is None else f' (s.e. {error:.3f})'} |")


if __name__ == "__main__":
    main()
