"""A scorer from a language model behind an OpenAI-compatible endpoint: the logit of *yes* less that of *no*."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from workingpapers.papers.anncur.scorers import Adapter, Pair, _digest

PROMPT = "Query: {query}\nDocument: {item}\nDoes the document answer the query? Reply with yes or no only."
_FLOOR = -20.0  # log-probability taken for an answer that is not among those the endpoint lists


def from_llm(
    endpoint: str,
    *,
    model: str = "default",
    prompt: str = PROMPT,
    key: str | None = None,
    parallel: int = 4,
    timeout: float = 60.0,
    top: int = 20,
) -> Adapter:
    """Score by asking a judge model; one request a pair.

    Args:
        endpoint: base URL, up to and with `/v1`.
        prompt: a format string with `{query}` and `{item}`.
        key: sent as bearer token where given.
        parallel: requests under way at once.
        top: how many log-probabilities to ask for.

    Raises:
        ValueError: for an endpoint that is no http(s) URL or a prompt without its two fields.
        RuntimeError: at a call, when the endpoint fails or gives no log-probabilities.
    """
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise ValueError(f"endpoint: {endpoint!r} is not an http(s) URL")
    if "{query}" not in prompt or "{item}" not in prompt:
        raise ValueError("prompt: must hold {query} and {item}")
    url = endpoint.rstrip("/") + "/chat/completions"

    def one(pair: Pair) -> float:
        text = prompt.replace("{item}", "\0").replace("{query}", str(pair[0])).replace("\0", str(pair[1]))
        body = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": top,
        }
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                listed = json.load(answer)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        except (urllib.error.URLError, TimeoutError) as error:
            raise RuntimeError(f"the endpoint {url} failed: {error}") from error
        except (KeyError, IndexError, TypeError, json.JSONDecodeError) as error:
            raise RuntimeError(f"the endpoint {url} gave no log-probabilities for the first token") from error
        return _total(listed, "yes") - _total(listed, "no")

    def score(pairs: Sequence[Pair]) -> list[float]:
        with ThreadPoolExecutor(parallel) as pool:
            return list(pool.map(one, pairs))

    return Adapter(score, _digest("llm", endpoint, model, prompt))


def _total(listed: list[dict[str, object]], word: str) -> float:
    """Log of the summed probability of the tokens that spell `word`, whatever their case and spaces."""
    found = [float(str(t["logprob"])) for t in listed if str(t["token"]).strip().lower() == word]
    return math.log(sum(map(math.exp, found))) if found else _FLOOR
