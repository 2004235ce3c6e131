"""DPO by TRL as an evaluator: the reference model is the trial's with its adapter switched off."""

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


def evaluate(configuration, context):
    files = {"train": "pairs-train.jsonl", "validation": "pairs-validation.jsonl"}
    rows = load_dataset("json", data_files=files)  # prompt, chosen, rejected
    arguments = DPOConfig(
        num_train_epochs=3,
        per_device_train_batch_size=4,
        beta=0.1,
        report_to="none",
        **context.training_arguments(),
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained("my-chat-model"),
        args=arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=AutoTokenizer.from_pretrained("my-chat-model"),
        peft_config=context.peft_config(),
    )
    found = context.train_and_evaluate(trainer)
    return {**found, "reward_accuracy": found["eval_rewards/accuracies"]}
