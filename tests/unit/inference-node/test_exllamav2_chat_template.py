"""Chat templates render as the models' makers mean them, and hostile ones do no harm."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exllamav2.chat_template import ChatTemplate
from orchestra_inference_node.adapters.exllamav2.template_bounds import MOST_SECONDS
from orchestra_inference_node.domain.drawing import ChatMessage

CHAT = (
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "  2 < 3? {{ 7 }} "),
    ChatMessage("user", "", "Ann"),
)
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are.<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<' + message['role'] + '>\\n' + message['content'] | trim + eos_token %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
)
MANY = (
    "{%- set ns = namespace(found=false) -%}\n{%- for m in messages -%}\n"
    "    {%- set ns.found = m.role ~ loop.length -%}\n"
    "{{ ns.found }}{% if m.name is defined %}({{ m.name }}){% endif %}"
    "{% generation %}{{ m.content | trim }}{% endgeneration %};{% if loop.last %}{% break %}{% endif %}\n"
    "{%- endfor -%}\n"
    "{{ {'a': [1, 'é<']} | tojson }}{{ [1] | tojson(indent=1) }}"
    "{{ messages[::-1] | map(attribute='role') | join(', ') }}"
    "{{ 'a.b'.split('.')[-1] }}{{ messages[1:] | length }}{{ strftime_now('%d %b %Y') }}{{ 7 % 4 }}"
    "{% macro told(x) %}[{{ x }}]{% endmacro %}{{ told('y' ~ 1) }}{{ tools is none }}{{ 'x' * 3 }}"
    "{% set a, b = 1, 2 %}{{ a + b }}{{ 'aba'.replace('a', 'c') }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
)


def rendered(source: str) -> str:
    template = ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"}, lambda: datetime(2026, 11, 25))
    return template.render(CHAT)


def test_templates_render_as_their_makers_mean_them() -> None:
    user = "  2 < 3? {{ 7 }} "
    assert rendered(CHATML) == (
        f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert rendered(LLAMA) == f"<s><system>\nBe brief.</s><user>\n{user.strip()}</s><user>\n</s>"
    assert rendered(MANY) == (
        f"system3Be brief.;user3{user.strip()};user3(Ann);"
        '{"a": [1, "é<"]}[\n 1\n]user, user, systemb225 Nov 20263[y1]Truexxx3cbc2'
    )


def test_a_template_that_refuses_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="roles must alternate") as refused:
        rendered("{{ raise_exception('roles must alternate') }}")
    assert refused.value.violations[0].field == "chat.messages"


@pytest.mark.parametrize(
    "source",
    ["{% if %}", "{{ 1", "{% frob %}", "{{ 'a' | center(5) }}", "{{ 1.5 | round(9) }}", "{{" + "(" * 10_000],
)
def test_what_is_no_template_is_damage(source: str) -> None:
    with pytest.raises(DataLoss):
        rendered(source)


GROW = "{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}{step}{{% endfor %}}{{{{ ns.x }}}}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = 1 %}{% endfor %}{% endfor %}",
        "{% set r = range(99999) | list %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
        "{% set s = 'a' * 100000 %}{% for i in range(99999) %}{% set y = s | upper | lower %}{% endfor %}",
        GROW.format(start="'aaaaaaaa'", step="{% set ns.x = ns.x ~ ns.x %}"),
        GROW.format(start="'aaaaaaaa'", step="{% set ns.x = ns.x + ns.x %}"),
        GROW.format(start="'aaaaaaaa'", step="{% set s %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = s %}"),
        GROW.format(start="[1]", step="{% set ns.x = ns.x + ns.x %}"),
        GROW.format(start="[1]", step="{% set ns.x = [ns.x, ns.x] %}"),
        GROW.format(start="[1]", step="{% set ns.x = (ns.x, ns.x) %}"),
        GROW.format(start="[1]", step="{% set ns.x = [ns.x] * 1000 %}"),
        GROW.format(start="{}", step="{% set ns.x = {'a': ns.x, 'b': ns.x} %}"),
        GROW.format(start="3", step="{% set ns.x = ns.x * ns.x %}"),
        GROW.format(start="3", step="{% set ns.x = ns.x ** 9 %}"),
        "{{ 'a' * 10000000000 }}",
        "{{ 10000000000 * 'a' }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ ('a' | attr('ljust'))(9999999999) }}",
        "{{ [1] | tojson(indent=1000000000) }}",
        "{{ ('a' * 9999999).join(range(99999) | map('string')) }}",
        "{{ range(99999) | join('a' * 9999999) }}",
        "{{ ('a' * 999999) | replace('a', 'b' * 999999) }}",
        "{{ ('a' * 999999).replace('a', 'b' * 999999) }}",
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% macro a(x) %}{{ a(x) }}{% endmacro %}{{ a(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum(99999) }}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ messages[0].role.missing.deeper }}",
    ],
)
def test_a_hostile_template_is_stopped(source: str) -> None:
    begin = time.monotonic()
    with pytest.raises(InvalidRequest):
        rendered(source)
    assert time.monotonic() - begin < 5 * MOST_SECONDS


def test_what_is_kept_from_a_template_is_nothing_to_it() -> None:
    assert rendered("{{ strftime_now.__globals__ }}{{ messages.__class__ }}") == ""
