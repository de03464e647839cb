"""What an application answers with while it is debugged: how long it takes, and what it leaves out."""

import time

import pytest

from flama import middleware

SECRETS = ["?pass", "&x-token", "?API_KEY", "&the_password_of", "?auth", "&pwd-1"]


@pytest.mark.parametrize("name", SECRETS)
def test_the_values_of_secret_parameters_are_left_out(name):
    text = middleware._redact(f"GET /x{name}=hunter2&y=1 failed, '{name}=hunter2'")

    assert "hunter2" not in text
    assert text.count("***") == 2
    assert "&y=1" in text


@pytest.mark.parametrize(
    "unit", ["pass", "?pass", "?pass=", "://a:", "://a@", "a@", ":", "?x-", "&", "://", "key-token"]
)
def test_redaction_takes_time_in_proportion_to_the_text(unit):
    def taken(length):
        text = "?" + unit * (length // len(unit))
        started = time.process_time()
        middleware._redact(text)
        return time.process_time() - started

    # 0.02 s; a search whose time is quadratic took 41 s
    assert min(taken(300_000) for _ in range(2)) < 2
