"""docs/reference.md, from what the checks of a space file are made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autopeft.config.schema import space_schema
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.objective import METRICS

FILE = Path(__file__).with_name("reference.md")
_HEAD = """# Reference

Made by `python docs/reference.py` from what the checks of a space file look at; `autopeft
config-schema` prints the same as a JSON schema for editors. What the keys mean:
[the space file](space-file.md), [methods](methods.md).
"""


def reference() -> str:
    return "\n".join((_HEAD, *_keys(), *_metrics(), *_methods(), *_allocations())) + "\n"


def _keys() -> Iterator[str]:
    schema = space_schema()
    yield "## Keys\n"
    yield "| key | takes | what it says |\n|---|---|---|"
    for name, said in schema["properties"].items():
        yield f"| `{name}` | {_takes(said, schema)} | {said.get('description', '')} |"
        for inner, value in _inner(said, schema).items():
            yield f"| `{name}.{inner}` | {_takes(value, schema)} | {value.get('description', '')} |"


def _resolved(said: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = said.get("$ref")
    return schema["definitions"][found.rpartition("/")[2]] if found else said


def _inner(said: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys below a key, where they are told; of alternatives, those of the first with some."""
    said = _resolved(said, schema)
    for form in (said, *said.get("anyOf", ())):
        if inner := _resolved(form, schema).get("properties"):
            return inner
        if items := form.get("items"):
            return _inner(items, schema)
    return {}


def _takes(said: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """`integer from 1`, `a, b or c`, ...: alternatives in the order of the schema."""
    said = _resolved(said, schema)
    if "const" in said:
        return f"`{str(said['const']).lower()}`"
    if "enum" in said:
        values = [f"`{value}`" for value in said["enum"] if value is not None]
        return ", ".join(values[:12]) + (", ..." if len(values) > 12 else "")
    if "anyOf" in said:
        return ", or ".join(dict.fromkeys(filter(None, (_takes(s, schema) for s in said["anyOf"]))))
    kind = said.get("type", "")
    kinds = [k for k in (kind if isinstance(kind, list) else [kind]) if k and k != "null"]
    names = {"object": "mapping", "array": "list", "string": "text", "boolean": "true, false"}
    least = f" from {said['minimum']}" if "minimum" in said else ""
    return ", or ".join(names.get(k, k) for k in kinds) + least


def _metrics() -> Iterator[str]:
    yield "\n## Metrics\n"
    yield "| metric | unit | goal | known before training | measuring it costs |"
    yield "|---|---|---|---|---|"
    for metric in METRICS.values():
        known = "yes" if metric.known else "no"
        yield f"| `{metric.name}` | {metric.unit} | {metric.goal} | {known} | {metric.asked} |"


def _methods() -> Iterator[str]:
    schema = space_schema()
    yield "\n## Methods\n"
    yield "What `peft_type` takes, and its fields; the one that is its size first.\n"
    yield "| `peft_type` | fields |\n|---|---|"
    for name in sorted(PEFT_DEFAULTS):
        offered = schema["definitions"].get(f"modules.{name}")
        if offered is None:
            continue
        size = size_field(name)
        fields = sorted(set(offered["properties"]) - {"peft_type", size})
        told = [f"**`{size}`**"] if size else []
        yield f"| `{name}` | {', '.join([*told, *(f'`{field}`' for field in fields)])} |"


def _allocations() -> Iterator[str]:
    yield "\n## Allocations\n"
    yield "| `allocation` | finds or changes | options |\n|---|---|---|"
    for name, strategy in STRATEGIES.items():
        options = ", ".join(f"`{option}`" for option in sorted(strategy.options))
        if name == "adalora":
            options = "those of PEFT's AdaLoraConfig"
        yield f"| `{name}` | {strategy.changes} | {options} |"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
    print(FILE)
