"""The API against its own description, with requests made from it: for a visitor and for every role; and the description itself."""

from __future__ import annotations

import importlib
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from workingpapers.hub.people.roles import ROLES, SCOPES

from .conftest import new_paper

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("schemathesis")
schemathesis = importlib.import_module("schemathesis")
CHECKS = schemathesis.checks.CHECKS

EXAMPLES = {"visitor": 15}


@pytest.mark.slow
def test_the_description_is_valid(shut):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    document = shut.openapi()
    assert document["openapi"].startswith("3.1")
    assert [e.message for e in OpenAPIV31SpecValidator(document).iter_errors()] == []
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            ids.append(operation["operationId"])
            assert operation.get("summary"), where
            assert operation.get("description"), where
            assert operation.get("tags"), where
            assert any(s.startswith("2") for s in operation["responses"]), where
            for status, answer in operation["responses"].items():
                assert answer["description"], where
                if status[0] in "45" and "/api/v1/" in path:
                    assert set(answer["content"]) == {"application/problem+json"}, (where, status)
            if method in ("post", "put", "patch", "delete") and "/api/v1/" in path:
                assert {"401", "403"} <= set(operation["responses"]), where
                assert operation.get("security"), where
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["visitor", *ROLES])
def test_answers_are_as_described(who, shut, lab, person, token_of, add_run):
    """Every check that schemathesis has, on requests that fit the description and on such that do not."""
    new_paper(lab, "2403.09999")
    add_run()
    headers = token_of(person(who), *SCOPES) if who != "visitor" else {}
    schema = load(shut)
    problems, tried = [], 0
    for result in schema.get_all_operations():
        operation = result.ok()
        # A question that cannot be read, or a cursor of another list, is 400: no description of a text says which those are.
        excluded = ["positive_data_acceptance"] if operation.path in ("/api/v1/search", "/api/v1/papers") else []
        # It takes any token that is sent for one that it made up, and made-up ones are sent for the visitor.
        excluded += ["ignored_auth"] if who != "visitor" else []
        count, error = try_out(operation, headers, excluded, EXAMPLES.get(who, 8))
        tried += count
        problems += [f"{operation.label}: {error}"] if error else []
    assert not problems, "\n\n".join(problems)[:8000]
    assert tried > 100


def try_out(operation, headers, excluded, examples):
    """How many requests were made of an operation, and what the checks had against an answer."""
    checks, tried = [CHECKS.get_one(name) for name in excluded], 0

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def run(case):
        nonlocal tried
        tried += 1
        case.headers.update(headers)
        case.call_and_validate(base_url="http://localhost", excluded_checks=checks)

    try:
        run()
    except BaseException as error:
        return tried, error
    return tried, None


def load(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})
