"""Generates chat.json: conversations rendered by transformers with templates that use what real ones use; and, with a folder of public
templates, corpus.json: digests of what transformers makes of them.

    python crates/rldp-data/testdata/chat/generate.py [FOLDER]

Needs transformers and jinja2; last written with transformers 5.24.0. The templates of FOLDER (*.jinja) are somebody else's: what is
written holds their digests alone, and the test of the corpus renders those of a folder named by RLDP_TEMPLATES.
"""

import datetime
import hashlib
import json
import pathlib
import sys
from unittest import mock

from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import _normalize_chat_messages, render_jinja_template

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

# Names that begin with `plain` have answers that stand in the text as they are said, each with its end.
TEMPLATES = {
    "plain-im": """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}""",
    "plain-alternating": """{{ bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' ~ message['content'].strip() ~ ' [/INST]' }}
    {%- else %}
        {{- ' ' + message.content | trim + eos_token }}
    {%- endif %}
{%- endfor %}""",
    "plain-headers": """{% set loop_messages = messages %}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% endif %}
{%- set ns = namespace(turns=0) -%}
{{- bos_token }}{% if system is defined and system is not none %}{{ '<sys>' ~ system.rstrip() ~ '</sys>\\n' }}{% endif %}
{%- for message in loop_messages if message.content is string %}
  {%- set ns.turns = ns.turns + 1 %}
  {{- '<|start|>' ~ message.role.upper() ~ '<|end|>\\n\\n' ~ message.content | replace('\\r', '') ~ '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>ASSISTANT<|end|>\\n\\n' }}{% endif %}""",
    "marked": """{% for m in messages %}{% if m.role == 'assistant' %}<a>{% generation %}{{ m.content | trim }}<end>{% endgeneration %}
{% else %}<{{ m.role }}>{{ m.content }}<end>
{% endif %}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}""",
    "marked-scope": """{%- set said = 'outside' -%}
{%- for m in messages -%}
  {%- if m.role == 'assistant' -%}
    {%- generation -%}
      {%- set said = m.content -%}{{- loop.index ~ ':' ~ said ~ eos_token -}}
    {%- endgeneration -%}
    {{- '(' ~ said ~ ')' -}}
  {%- else -%}{{- m.role ~ '=' ~ m.content -}}{%- endif -%}
{%- endfor -%}""",
    "json": """{% if tools is not none %}{{ tools | tojson }}|{{ tools | tojson(indent=4) }}|{{ tools | tojson(ensure_ascii=True, sort_keys=True) }}|{{ tools | tojson(separators=(',', ':')) }}{% else %}no tools{% endif %}
{{ documents is none }} {{ messages | tojson(indent=2) }} {{ messages[0] }} {{ messages[0] | string | length }}""",
    "order": """{% for m in messages %}{% for key, value in m.items() %}{{ key }}={{ value }};{% endfor %}{{ m | items | list | length }} {{ m.keys() | list }} {{ m | dictsort }}
{% endfor %}""",
    "tools": """{%- if tools %}{%- for tool in tools %}{%- set f = tool.function %}
## {{ f.name }}({% for name, p in f.parameters.properties.items() %}{{ name }}: {{ p.type }}{{ '?' if name not in f.parameters.required else '' }}{{ ', ' if not loop.last }}{% endfor %}) {{ f['description'] | default('-') }}
{%- endfor %}{%- endif %}
{%- for m in messages %}
  {%- if m.tool_calls is defined and m.tool_calls %}
    {%- for call in m.tool_calls %}
      {%- if call.function %}{%- set call = call.function %}{%- endif %}
{{ '<call>' }}{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}</call>
    {%- endfor %}
  {%- elif m.role == 'tool' %}<result>{{ m.content }}</result>
  {%- else %}{{ m.role }}: {{ m.content if m.content is string else m.content | map(attribute='text') | join('') }}
  {%- endif %}
{%- endfor %}""",
    "special": """{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}{{ mask_token }}{{ mask_token is defined }}{{ undefined_name | default('d', true) }}""",
    "strings": """{% set s = messages[0].content %}{{ s.removeprefix('Re: ') }}|{{ s.removesuffix('.') }}|{{ s.split() }}|{{ s.rsplit(' ', 1) }}|{{ s.split('e', 1)[0] }}|{{ '7'.zfill(4) }}{{ '-7'.zfill(4) }}|{{ s.partition(' ') | list }}|{{ s.rpartition('zz') | list }}|{{ s.title() }}|{{ s.capitalize() }}|{{ s.swapcase() }}|{{ s.center(30, '*') }}|{{ s.ljust(30) }}!{{ s.rjust(30, '.') }}|{{ s.find('e') }} {{ s.rfind('e') }} {{ s.count('e') }}|{{ s.startswith('Re') }} {{ s.endswith(('x', '.')) }}|{{ s.splitlines() }}|{{ s[::-1] }}|{{ s[2:5] }}|{{ s[-3:] }}|{{ s | upper }}|{{ s.lstrip('Re: ') }}|{{ s.isdigit() }}|{{ 'x'.join(['a', 'b']) }}|{{ s.index('e') }}|{{ s | wordcount if false else '' }}|{{ s | length }}|{{ s.casefold() }}""",
    "printing": """{{ none }} {{ true }} {{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e-5 }} {{ [1, 'a', none, true, 1.5] }} {{ {'k': 'it\\'s', 'n': [1, (2, 3)]} }} {{ (1,) }} {{ 'a' ~ none ~ true ~ 1.5 ~ [1] }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 / 2 }} {{ 7 % 3 }} {{ 2 ** 10 }} {{ 'ab' * 3 }} {{ [1] + [2] }} {{ 'a' in 'abc' }} {{ 3 | float }} {{ '3.7' | float | int }} {{ 3.14159 | round(2) }} {{ [3, 1, 2] | sort }} {{ [1, 2, 3] | sum }} {{ '%s-%d' | format('a', 3) }} {{ 'x' if false }} {{ [1, 2, 3] | first }} {{ [[1, 2], [3]] | map('length') | list }} {{ range(3) | list }} {{ [1, 2, 2] | unique | list }} {{ {'a': 1}.get('b') }} {{ {'a': 1} | length }} {{ ['b', 'a'] | join(', ') }} {{ '<b>' | e }} {{ 'a b' | title }} {{ [1, 2, 3, 4] | batch(2) | list }} {{ 5 is odd }} {{ 'x' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ 1 is number }} {{ none is none }} {{ true is boolean }} {{ 3 is integer }} {{ 1.5 is float }} {{ 'a' is in ['a'] }} {{ not [] }}""",
    "flow": """{%- macro field(name, value='-') -%}[{{ name }}: {{ value }}]{%- endmacro -%}
{%- set ns = namespace(last=-1, found=false) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages[::-1] -%}{%- if m.role == 'user' and not ns.found -%}{%- set ns.found = true -%}{{ field('last', m.content) }}{%- endif -%}{%- endfor -%}
{%- for m in messages recursive -%}{{ loop.index }}/{{ loop.length }}{{ loop.cycle('a', 'b') }}{{ loop.first }}{{ loop.previtem.role if loop.previtem is defined }}{%- if loop.index > 2 -%}{% break %}{%- endif -%}{%- if m.role == 'system' -%}{% continue %}{%- endif -%};{%- else -%}empty{%- endfor -%}
{%- set block -%} {{ messages | length }} messages {%- endset -%}{{ block | trim }}{{ field('x') }}{{ ns.last }}
{%- set pair = ['k', 'v'] -%}{%- set k, v = pair -%}{{ k ~ v }}
{%- for k, v in {'b': 1, 'a': 2}.items() -%}{{ k }}{{ v }}{%- endfor -%}
{%- filter upper -%}loud{%- endfilter -%}{%- with z = 3 -%}{{ z }}{%- endwith -%}
{%- set comma = joiner(', ') -%}{%- for m in messages -%}{{ comma() }}{{ m.role }}{%- endfor -%}{%- macro field2() -%}{{ caller('u') }}{%- endmacro -%}{%- call(u) field2() -%}<{{ u }}>{%- endcall -%}""",
    "whitespace": "  {% if true %}\n  a\n  {% endif %}\n\t{# note #}\nb {%- if true +%}\n c{% endif -%}\n\n d\n{{ 'e' }}\n{% raw %}{{ x }}{% endraw %}\n",
    "parts": """{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% else %}<{{ p.type }}>{% endif %}{% endfor %}{% endif %}{{ m.name | default('') }}{{ m.reasoning_content if m.reasoning_content is defined else '' }}{{ m.thinking if m.thinking }}|{% endfor %}""",
    "missing": """{{ messages[0].nothing }}{{ messages[0].nothing.deeper }}""",
    "filters": """{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | tojson }} {{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }} {{ messages | map(attribute='role') | unique | join('/') }} {{ messages | groupby('role') | map(attribute=0) | list }} {{ (messages | last).role }} {{ messages[-1]['content'] | indent(2) }} {{ messages[0].content | truncate(9, true) }} {{ 'a,b' | replace(',', ';') }} {{ [1, none, 2] | select | list }} {{ [0.5, 2] | max }} {{ 'abc' | list }} {{ 'abc' | reverse }} {{ messages | map('tojson') | first | length }}""",
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "It's <hot> & \"cold\" é\n",
            "parameters": {"type": "object", "properties": {"zip": {"type": "string"}, "at": {"type": "number"}}, "required": ["zip"]},
        },
    }
]


def said(*turns):
    """Messages of (role, content)."""
    return [{"role": role, "content": content} for role, content in turns]


CONVERSATIONS = {
    "short": (said(("user", "How is the patient?"), ("assistant", " Stable.  ")), None),
    "turns": (said(("user", "Hello\n"), ("assistant", "Hi"), ("user", "naïve <b>&amp;</b> 漢字"), ("assistant", "Yes\nno 🙂")), None),
    "system": (said(("system", "Be brief.\n"), ("user", "Re: the seven. "), ("assistant", "b")), None),
    "tools": (
        [
            {"role": "user", "content": "Weather 'there' & <here>?", "name": "Zoë"},
            {"content": None, "role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"zip": "1'2\"", "at": 1.0, "big": 12345678901234567890123, "small": 1e-7}}}]},
            {"role": "tool", "content": "21.5°"},
            {"role": "assistant", "content": "Warm.", "reasoning_content": "21 > 20"},
        ],
        TOOLS,
    ),
    "parts": (
        [
            {"role": "user", "content": [{"type": "text", "text": "See "}, {"type": "image"}, {"type": "text", "text": "this"}]},
            {"role": "assistant", "thinking": "hm", "content": [{"type": "text", "text": "I do."}]},
        ],
        None,
    ),
}


def render(template, messages, tools, opens, **more):
    """What transformers makes of a conversation, and what its mask covers; `None` where it refuses."""
    try:
        rendered, spans = render_jinja_template(
            [_normalize_chat_messages(messages)], tools=tools, chat_template=template, add_generation_prompt=opens, **SPECIAL, **more
        )
        return rendered[0], spans[0] if spans else None
    except Exception:
        return None, None


def as_json(value):
    """A text, which keeps the order of keys and the spelling of numbers."""
    return json.dumps(value, ensure_ascii=False)


def own_cases():
    """Every template with every conversation."""
    for name, template in TEMPLATES.items():
        for talk, (messages, tools) in CONVERSATIONS.items():
            if name.startswith("plain") and talk in ("tools", "parts"):
                continue
            for opens in [False, True] if name.startswith(("plain", "marked")) else [False]:
                text, _ = render(template, messages, tools, opens)
                marks = "{% generation %}" in template or "{%- generation -%}" in template
                _, spans = render(template, messages, tools, opens, return_assistant_tokens_mask=True) if marks else (None, None)
                yield dict(name=f"{name}/{talk}", template=template, special=SPECIAL, messages=as_json(messages), tools=tools and as_json(tools), opens=opens, text=text, spans=spans)


class Past(datetime.datetime):
    """Another day, which shows whose rendering depends on it."""

    @classmethod
    def now(cls, tz=None):
        return cls(2001, 2, 3)


def digest(text):
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def corpus(folder):
    """Digests of public templates, and of what is made of them; a rendering that holds a date has none."""
    found = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        template = path.read_text()
        cases = []
        for talk, (messages, tools) in CONVERSATIONS.items():
            for opens in [False, True]:
                text, _ = render(template, messages, tools, opens)
                with mock.patch.object(chat_template_utils, "datetime", Past):
                    chat_template_utils._compile_jinja_template.cache_clear()
                    dated = render(template, messages, tools, opens)[0] != text
                chat_template_utils._compile_jinja_template.cache_clear()
                cases.append(dict(conversation=talk, opens=opens, renders=text is not None, sha256=None if text is None or dated else digest(text)))
        found.append(dict(name=path.stem, sha256=digest(template), cases=cases))
    talks = {name: dict(messages=as_json(messages), tools=tools and as_json(tools)) for name, (messages, tools) in CONVERSATIONS.items()}
    return dict(special=SPECIAL, conversations=talks, templates=found)


def main():
    """Writes the files."""
    here = pathlib.Path(__file__).parent
    (here / "chat.json").write_text(json.dumps(list(own_cases()), indent=1, ensure_ascii=False) + "\n")
    if len(sys.argv) > 1:
        (here / "corpus.json").write_text(json.dumps(corpus(sys.argv[1]), indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
