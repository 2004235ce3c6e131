"""Fine-tune a chat model with TRL: a script as many people have it."""

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def evaluate(configuration, context):
    files = {"train": "chat-train.jsonl", "validation": "chat-validation.jsonl"}
    rows = load_dataset("json", data_files=files)
    model = AutoModelForCausalLM.from_pretrained("my-chat-model")
    arguments = SFTConfig(
        num_train_epochs=3,
        per_device_train_batch_size=4,
        max_length=256,
        report_to="none",
        **context.training_arguments(),
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=AutoTokenizer.from_pretrained("my-chat-model"),
        peft_config=context.peft_config(),
    )
    return context.train_and_evaluate(trainer)
