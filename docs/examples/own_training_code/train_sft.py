"""Fine-tune a chat model with TRL: a script as many people have it."""

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main():
    files = {"train": "chat-train.jsonl", "validation": "chat-validation.jsonl"}
    rows = load_dataset("json", data_files=files)
    model = AutoModelForCausalLM.from_pretrained("my-chat-model")
    arguments = SFTConfig(
        output_dir="out",
        num_train_epochs=3,
        per_device_train_batch_size=4,
        learning_rate=2e-4,
        max_length=256,
        report_to="none",
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=AutoTokenizer.from_pretrained("my-chat-model"),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )
    trainer.train()
    trainer.save_model()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
