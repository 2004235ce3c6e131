"""Whatever the checks take in these tests has to fit the JSON schema too."""

import pytest
from jsonschema import Draft7Validator

from autopeft.config import spec
from autopeft.config.schema import space_schema


@pytest.fixture(scope="session")
def validator():
    return Draft7Validator(space_schema())


@pytest.fixture(autouse=True)
def fits_the_schema(request, monkeypatch, validator):
    """A key that a check learns, and the schema does not, fails the test of that key."""
    if hasattr(request.function, "hypothesis"):
        return  # hundreds of documents: test_schema.py draws its own
    check = spec._Parser.spec

    def checked(self):
        found = check(self)
        wrong = [f"{e.json_path}: {e.message[:300]}" for e in validator.iter_errors(self._document)]
        assert not wrong, f"the checks take it, the schema does not: {wrong}"
        return found

    monkeypatch.setattr(spec._Parser, "spec", checked)
