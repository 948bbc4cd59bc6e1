"""Generates chat.json: conversations rendered by transformers with templates of the usual kinds.

    python crates/rldp-data/testdata/chat/generate.py

Needs transformers and jinja2; last written with transformers 5.24.0.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATES = {
    "im": """{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant\\n' }}
{% endif %}""",
    "alternating": """{{ bos_token }}
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
    "headers": """{% set loop_messages = messages %}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% endif %}
{%- set ns = namespace(turns=0) -%}
{{- bos_token }}{% if system is defined and system is not none %}{{ '<sys>' ~ system.rstrip() ~ '</sys>\\n' }}{% endif %}
{%- for message in loop_messages if message.content is string %}
  {%- set ns.turns = ns.turns + 1 %}
  {{- '<|start|>' ~ message.role.upper() ~ '<|end|>\\n\\n' ~ message.content | replace('\\r', '') ~ '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>ASSISTANT<|end|>\\n\\n' }}{% endif %}""",
}
CONVERSATIONS = [
    [("user", "How is the patient?"), ("assistant", " Stable.  ")],
    [("user", "Hello\n"), ("assistant", "Hi"), ("user", "naïve <b>&amp;</b> 漢字"), ("assistant", "Yes\nno 🙂")],
    [("system", "Be brief.\n"), ("user", "a"), ("assistant", "b")],
]


def main():
    """Renders everything that a template accepts, and notes what it refuses."""
    cases = []
    for name, template in TEMPLATES.items():
        for turns in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in turns]
            for opens in [False, True]:
                try:
                    rendered, _ = render_jinja_template(
                        [messages], chat_template=template, add_generation_prompt=opens, bos_token="<s>", eos_token="</s>"
                    )
                    text = rendered[0]
                except Exception:
                    text = None
                cases.append(dict(name=name, template=template, messages=messages, opens=opens, text=text))
    path = pathlib.Path(__file__).with_name("chat.json")
    path.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
