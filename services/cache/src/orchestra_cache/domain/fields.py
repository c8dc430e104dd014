"""Every field of a Subject: whether it is part of the key, and why.

The key must change when, and only when, something that changes the answer changes. A field that is in neither
table is in the key all the same (a needless miss is cheaper than a wrong answer), and a test fails until
somebody has decided.
"""

from __future__ import annotations

from collections.abc import Mapping

KEYED: Mapping[str, Mapping[str, str]] = {
    "orchestra.cache.v1.Subject": {
        "tenant": "tenants never meet",
        "generation": "what is asked, less what is left out below",
        "model": "another model, another answer",
        "revision": "other weights, another answer",
        "provider": "the same weights are served with other builds and filters elsewhere",
        "engine": "engines differ in arithmetic and in samplers",
    },
    "orchestra.generation.v1.GenerationRequest": {
        "chat": "the prompt",
        "text": "the prompt; continued as it stands, so it never equals a chat of the same words",
        "token_ids": "the prompt",
        "sampling": "how tokens are drawn, less what is left out below",
        "tools": "they stand in the prompt, in their order",
        "tool_choice": "bends the answer; absent beside tools is auto, and without tools it says nothing",
    },
    "orchestra.generation.v1.Sampling": {
        "temperature": "absent is 1",
        "top_p": "absent is 1",
        "top_k": "absent is 0",
        "min_p": "absent is 0",
        "repetition_penalty": "absent is 1",
        "presence_penalty": "absent is 0",
        "frequency_penalty": "absent is 0",
        "max_tokens": "where the answer is cut; absence is a meaning of its own",
        "stop": "where the answer ends; the order and repeats change nothing and are levelled",
        "stop_token_ids": "where the answer ends; the order and repeats change nothing and are levelled",
        "seed": "a seeded answer belongs to its seed",
        "json_schema": "what the answer is held to, as its text stands",
        "grammar": "what the answer is held to, as its text stands",
        "logprobs": "does not change the text, but a draw without them cannot answer a request for them",
        "top_logprobs": "as logprobs",
        "return_token_ids": "as logprobs",
        "prompt_logprobs": "as logprobs",
    },
    "orchestra.generation.v1.Chat": {"messages": "the prompt"},
    "orchestra.generation.v1.TokenIds": {"ids": "the prompt"},
    "orchestra.generation.v1.Message": {
        "role": "the prompt",
        "parts": "the prompt",
        "name": "the prompt",
        "tool_calls": "the prompt",
        "tool_call_id": "the prompt of templates that show it",
    },
    "orchestra.generation.v1.Part": {"text": "the prompt", "image": "the prompt", "audio": "the prompt"},
    "orchestra.generation.v1.Media": {
        "data": "the prompt",
        "uri": "the prompt; what it points at is not fetched, so the same bytes elsewhere are another key",
        "mime_type": "how the bytes are read",
    },
    "orchestra.generation.v1.Tool": {
        "name": "the prompt",
        "description": "the prompt",
        "parameters_json_schema": "the prompt, as its text stands: templates print it in its own order",
    },
    "orchestra.generation.v1.ToolCall": {
        "id": "the prompt of templates that show it",
        "name": "the prompt",
        "arguments_json": "the prompt, as its text stands",
    },
    "orchestra.generation.v1.ToolChoice": {"mode": "bends the answer", "name": "bends the answer"},
}

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "orchestra.generation.v1.GenerationRequest": {
        "routing": "chose the model, which is in the subject",
        "request_id": "names the request, not the question",
        "rollout_id": "says who asks; it decides which draws are served, not which set",
        "cache": "what may be served of a set, not which set",
        "conversation_id": "which worker, not which answer",
        "priority": "when, not what",
        "phase": "what the answer is for",
        "run_id": "what the answer is for",
        "labels": "kept beside the answer",
        "diversity_target": "how many draws are made, each of them an independent one",
    },
    "orchestra.generation.v1.Sampling": {"n": "how many draws, each of them an independent one"},
}
