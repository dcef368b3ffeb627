"""Templates that come with a hostile model file: attributes, endless work, endless memory. Each ends soon."""

from __future__ import annotations

import time

import pytest

from realizar_lambda.chat import prompt_of, sandbox
from realizar_lambda.errors import RealizarError, RequestError, UnsupportedError

MESSAGES = [{"role": "user", "content": "text"}]
LONGEST_SECONDS = 10.0


def render(template: str, **arguments) -> str:
    return prompt_of(MESSAGES, template=template, special_tokens={"bos_token": "<s>"}, **arguments).text


REACHES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ messages.__class__.__mro__ }}",
    "{{ messages[0].__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ raise_exception.__code__ }}",
    "{{ strftime_now.__closure__ }}",
    "{{ namespace.__init__ }}",
    "{{ dict.fromkeys('ab') }}",
    "{{ range.__call__ }}",
    "{{ ('%s' | string).format(1) }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{}'.format_map({}) }}",
    "{{ 'x'.encode() }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{{ messages[0].clear() }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ messages | map(attribute='content.__class__') | list }}",
    "{{ messages | attr('__class__') }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{{ caller }}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}{{ joiner.__init__ }}",
    "{{ (1).real.__class__ }}",
    "{{ missing.__class__.__base__ }}",
    "{{ missing._undefined_exception }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
]


@pytest.mark.parametrize("template", REACHES)
def test_a_template_that_reaches_for_attributes_gets_none(template):
    try:
        text = render(template)
    except RealizarError:
        return
    assert "class" not in text
    assert "object" not in text
    assert "function" not in text


def again(first: str, following: str, then: str = "") -> str:
    """A template that makes a value out of itself 99 times."""
    loop = f"{{% for i in range(99) %}}{{% set n.s = {following} %}}{{% endfor %}}"
    return f"{{% set n = namespace(s={first}) %}}{loop}{then}"


HEAVY = {
    "a loop in a loop": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a loop over a large range": "{% for a in range(999999999) %}{% endfor %}",
    "a list of a large range": "{{ range(10 ** 9) | list }}",
    "a recursive loop": "{% for a in [[1]] recursive %}{{ loop(a) }}{% endfor %}",
    "a macro that calls itself": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
    "{% endmacro %}{{ m(60) }}",
    "a caller that calls itself": "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ m() }}{% endcall %}",
    "a text times a number": "{{ 'x' * 10 ** 10 }}",
    "a list times a number": "{{ ([1] * 10 ** 10) | length }}",
    "a number times a text": "{{ 10 ** 10 * 'x' }}",
    "a tower of powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "doubling by ~": again("'x'", "n.s ~ n.s"),
    "doubling by +": again("'x'", "n.s + n.s"),
    "doubling by join": again("'x'", "[n.s, n.s] | join"),
    "tripling by the method join": again("'x'", "n.s.join([n.s, n.s])"),
    "doubling by replace": again("'x'", "n.s | replace('x', 'xx')"),
    "squaring by the method replace": again("'xx'", "n.s.replace('x', n.s)"),
    "doubling a list": again("[1]", "n.s + n.s"),
    "lists of lists": again("[1]", "[n.s, n.s]", "{{ n.s | tojson }}"),
    "dicts of dicts": again("{}", "{1: n.s, 2: n.s}"),
    "tuples of tuples": again("1", "(n.s, n.s)"),
    "namespaces of namespaces": again("1", "namespace(a=n.s, b=n.s)", "{{ n }}"),
    "dict calls": again("1", "dict(a=n.s, b=n.s)"),
    "a namespace in itself": "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
    "blocks of blocks": "{% set n = namespace(s='xx') %}{% for i in range(99) %}"
    "{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}{% endfor %}",
    "numbers that square": again("9", "n.s * n.s"),
    "a sum of lists": "{{ [[1] * 9999] * 9999 | sum(start=[]) | length }}",
    "a date of any length": "{{ strftime_now('%Y' * 100000) }}",
    "a width in a format": "{{ '%999999999d' % 1 }}",
    "an indent of any width": "{{ messages | tojson(indent=10 ** 9) }}",
    "much output": "{% set s = 'x' * 4000000 %}{% for i in range(99) %}{{ s }}{% endfor %}",
    "much constant output": "{% for i in range(9999) %}" + "x" * 10000 + "{% endfor %}",
    "a filter of any width": "{{ 'x' | center(10 ** 10) }}",
    "a wide column": "{{ [1] | batch(10 ** 10, 0) | list }}",
    "a padded text": "{{ 'x'.ljust(10 ** 10) }}",
    "a template of any length": "x" * (sandbox.MAX_TEMPLATE_CHARACTERS + 1),
    "squaring by replace with names": again("'xx'", "n.s | replace(old='x', new=n.s)"),
    "many digits of a round": "{{ 1.5 | round(10 ** 9, 'ceil') }}",
    "more digits of a round": "{{ 1.5 | round(method='floor', precision=10 ** 9) }}",
    "a wide indent": "{{ 'x' | indent(10 ** 9, true) }}",
    "an indent by a text": "{{ 'x' | indent('x' * 1000000, true) }}",
    "characters of a long text": "{{ ('é' * 4000000) | list | length }}",
    "words of a long text": "{{ ('a ' * 2000000).split() | length }}",
    "pieces of a long text": "{{ ('a,' * 2000000).split(',') | length }}",
    "a list of many": "{{ ([1] * 70000) | length }}",
    "many statements": "{{ a }}" * 9000 + "{{ 1 ** 9999999999 ** 99 }}",
    "many brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "many nested loops": "{% for a in [1] %}" * 100 + "{% endfor %}" * 100,
    "many unary operators": "{{ " + "-" * 20000 + "1 }}",
    "many digits": "{{ " + "9" * 5000 + " }}",
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_template_that_works_without_end_is_stopped(name):
    begun = time.monotonic()
    with pytest.raises((UnsupportedError, RequestError)):
        render(HEAVY[name])
    assert time.monotonic() - begun < LONGEST_SECONDS


def test_time_is_up_by_the_clock_that_was_given():
    seconds = iter(range(10**6))
    with pytest.raises(UnsupportedError, match="takes longer than that"):
        render("{% for i in range(9999) %}{% endfor %}", clock=lambda: float(next(seconds)))


def test_a_template_of_ordinary_size_is_far_from_the_limits():
    messages = [{"role": ("user", "assistant")[i % 2], "content": "word " * 100} for i in range(1000)]
    template = "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim ~ '</s>' }}{% endfor %}"
    text = prompt_of(messages, template=template, special_tokens={}).text
    assert text.count("</s>") == 1000


def test_what_can_be_gone_through_once_is_not_used_up_by_a_check():
    messages = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]
    template = "{{ ', '.join(messages | map(attribute='role')) }} {{ messages | map(attribute='content') | join('-') }}"
    assert prompt_of(messages, template=template, special_tokens={}).text == "user, assistant a b-c"
    assert render("{{ 'a b'.split() | length }} {{ 'a\nb' | indent(2) }} {{ 1.25 | round(1) }}") == "2 a\n  b 1.2"


def test_the_meter_is_out_of_a_templates_reach():
    assert render("{{ _meter }}{{ meter }}{{ messages | length }}") == "1"


def test_messages_are_not_changed_by_a_template():
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(UnsupportedError):
        prompt_of(messages, template="{{ messages[0].pop('role') }}", special_tokens={})
    assert messages == [{"role": "user", "content": "x"}]
