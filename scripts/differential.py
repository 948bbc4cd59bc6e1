#!/usr/bin/env python3
"""Compares how records are read and conversations are rendered with pandas, Python's json and transformers, on random inputs.

    cargo build --release -p rldp-data --example differential
    python3 scripts/differential.py target/release/examples/differential SEED [FOLDER OF CHAT TEMPLATES]

Needs pandas, jinja2 and transformers. Prints for each kind how many cases were equal, how many rldp refused, how many the reference refused
and rldp did not, and how many differ in silence, with the first of them; exit code 1 when any does.
"""

import collections
import csv
import decimal
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import pandas
from transformers.utils.chat_template_utils import _normalize_chat_messages, render_jinja_template

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
WORDS = ["a", "Be brief.", " x ", "it's", '"q"', "<b>&", "né", "漢字", "🙂", "line\nbreak", "\ttab", "{{ x }}", "1,5", "", "</think>done", "\u00a0", "\\n", "%s"]
# Expressions over the first message's content `s` and a mapping `d`, as templates use them.
EXPRESSIONS = """s.strip() s.upper() s.title() s.capitalize() s.split() s.split(',') s.rsplit(' ',1) s.splitlines() s.replace('a','b') s.removeprefix('a') s.removesuffix('.')
s.startswith('a') s.zfill(6) s.partition('e')|list s.find('e') s.count('a') s[::-1] s[1:3] s[-2:] s|length s|trim s|upper s|tojson s|indent(2) s|title s|capitalize s|list s|reverse s|string
s~1 s~none s~true s*2 [s,1]|tojson {'k':s,'n':[1,2.5,none]} [s,s]|join('-') [s,'a']|sort [s,'a']|unique|list s|e s|truncate(5,true,'..',0) s|wordcount s|center(20) d d|tojson d|tojson(indent=2)
d|tojson(ensure_ascii=true) d|tojson(sort_keys=true) d|items|list d|dictsort d.items()|list d.keys()|list d.values()|list d|length d.get('zz','q') d.get('role') d|string d|tojson(separators=(',',':')) s|default('q',true) s|first s|last
s.isdigit() s.isalpha() s.isspace() s.islower() s.lower() s.casefold() s.swapcase() s.ljust(9,'.') s.rjust(9) s.lstrip('a') s.rstrip() s|int s|float s==s.strip() s|replace('e','') (s,1) s.join(['a','b']) s|lower
s.rpartition('e')|list s.endswith(('.','a')) s.split('e',1)|last s|batch(3)|list s|select|list s|map('upper')|join""".split()
EXPRESSIONS += ["s is string", "s is mapping", "s is iterable", "s is sequence", "d is mapping", "d is sequence", "none is none", "s in 'abc'", "'a' in s"]


def text(rng):
    """A text of random words."""
    return rng.choice(["", " "]).join(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))


def value(rng, depth=0):
    """Random JSON."""
    kind = rng.randint(0, 7 if depth < 2 else 5)
    simple = [None, True, rng.randint(-5, 5), rng.choice([0.5, 1.0, 1e-7, 1e16, 2.5e300, 12345678901234567890123]), text(rng), text(rng)]
    if kind < 6:
        return simple[kind]
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {text(rng): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def tools(rng):
    """Tools as OpenAI writes them, or none."""
    if rng.random() < 0.5:
        return None
    names = ["zip", "at", "b"]
    properties = {name: {"type": rng.choice(["string", "number"]), "description": text(rng)} for name in rng.sample(names, rng.randint(0, 3))}
    function = {"name": "f", "description": text(rng), "parameters": {"type": "object", "properties": properties, "required": names[: rng.randint(0, 3)]}}
    return [{"type": "function", "function": function}]


def conversation(rng, plain):
    """Random messages; of one kind, or of all."""
    messages = [{"role": "system", "content": text(rng)}] if rng.random() < 0.4 else []
    for turn in range(rng.randint(1, 3)):
        messages.append({"role": "user", "content": text(rng)})
        answer = {"role": "assistant", "content": text(rng)}
        if not plain and rng.random() < 0.3:
            arguments = {rng.choice(["zip", "at", text(rng)]): value(rng, 1) for _ in range(rng.randint(0, 2))}
            answer = {"role": "assistant", "content": rng.choice([None, "", text(rng)]), "tool_calls": [{"type": "function", "id": "call00001", "function": {"name": "f", "arguments": arguments}}]}
            messages += [answer, {"role": "tool", "tool_call_id": "call00001", "name": "f", "content": text(rng)}]
            answer = {"role": "assistant", "content": text(rng)}
        if not plain and rng.random() < 0.2:
            answer["reasoning_content"] = text(rng)
        messages.append(answer)
    return messages


def rendered(template, messages, tools, opens):
    """What transformers makes of it; an error when it refuses."""
    found, _ = render_jinja_template([_normalize_chat_messages(messages)], tools=tools, chat_template=template, add_generation_prompt=opens, **SPECIAL)
    return found[0]


def template_cases(rng, sources, plain):
    """One conversation for each template, which is (name, source)."""
    for name, source in sources:
        messages, some, opens = conversation(rng, plain), tools(rng), rng.random() < 0.5
        yield name, dict(template=source, special=SPECIAL, messages=json.dumps(messages), tools=some and json.dumps(some), opens=opens), lambda m=messages, t=some, o=opens, s=source: rendered(s, m, t, o)


def expressions(rng, count):
    """Templates of a few expressions each."""
    for _ in range(count):
        chosen = rng.sample(EXPRESSIONS, 2)
        yield " ".join(chosen), "{% set s = messages[0].content %}{% set d = messages[-1] %}" + "|".join("{{ " + one + " }}" for one in chosen)


def table(rng):
    """Rows of two columns."""
    return [[text(rng), rng.choice(["7", "7.0", "p1", text(rng) or "x"])] for _ in range(rng.randint(1, 5))]


def csv_cases(rng, folder, count, broken):
    """Files as Python's csv writes them, some with a byte changed: read by pandas, every field as text."""
    for index in range(count):
        out = io.StringIO()
        separator = rng.choice([",", ",", "\t", ";"])
        writer = csv.writer(out, delimiter=separator, quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), lineterminator=rng.choice(["\n", "\r\n"]))
        writer.writerow(["text", "who"])
        writer.writerows(table(rng))
        content = out.getvalue()
        if broken:
            at = rng.randrange(9, len(content))
            content = content[:at] + rng.choice(['"', separator, "\n", "x", ""]) + content[at + rng.randint(0, 1) :]
        path = folder / f"{index}.{'tsv' if separator == chr(9) else 'csv'}"
        if separator == ";":
            continue
        path.write_bytes(content.encode())

        def reference(path=path, separator=separator):
            frame = pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False, na_filter=False, index_col=False)
            return frame[["text", "who"]].values.tolist()

        yield repr(content), dict(kind="table", path=str(path), names=["text", "who"]), reference


def json_cases(rng, folder, count):
    """Lines or an array of objects: read by Python's json, with numbers as they are written."""
    for index in range(count):
        rows = [{"text": text(rng), text(rng): value(rng), "who": rng.choice([1, 2.5, 12345678901234567890123, True, "a", text(rng)])} for _ in range(rng.randint(1, 4))]
        for row in rows:
            if rng.random() < 0.3:
                row["score"] = rng.choice([float("nan"), None, [1]])
        ascii_only = rng.random() < 0.5
        if rng.random() < 0.5:
            content, name = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows), f"{index}.jsonl"
        else:
            content, name = json.dumps(rows, ensure_ascii=ascii_only, indent=rng.choice([None, 1])), f"{index}.json"
        path = folder / name
        path.write_text(content)

        def reference(content=content, name=name):
            def strict(constant):
                raise ValueError(constant)

            load = lambda part: json.loads(part, parse_float=str, parse_int=str, parse_constant=strict)  # noqa: E731
            parts = load(content) if name.endswith("json") else [load(line) for line in content.split("\n")]
            plain = lambda one: str(one).lower() if isinstance(one, bool) else one  # noqa: E731
            return [[plain(part["text"]), plain(part["who"])] for part in parts]

        yield repr(content), dict(kind="table", path=str(path), names=["text", "who"]), reference


def fold(written):
    """An id without blanks, case, leading zeros and Unicode form; a number's value."""
    blank = lambda c: c.isspace() or c in "\u00ad\u200b\ufeff"  # noqa: E731
    plain = "".join(c for c in unicodedata.normalize("NFKC", written) if not blank(c)).upper().lower()
    try:
        number = decimal.Decimal(plain)
        if number.is_finite() and plain[:1] in "-+0123456789":
            return ("number", number)
    except decimal.InvalidOperation:
        pass
    stripped = plain.lstrip("0")
    return ("text", stripped if stripped[:1].isalnum() else plain)


def id_cases(rng, folder, count):
    """Two spellings of one id, or of two: one unit, two, or refused."""
    decimal.getcontext().prec = 60
    for index in range(count):
        base = rng.choice(["7", "p1", "Zoë", "12345678901234567890123", "10", "A 1", "straße"])
        change = rng.choice([lambda s: s, lambda s: s + " ", lambda s: "\u00a0" + s, lambda s: s.upper(), lambda s: "0" + s, lambda s: s + ".0", lambda s: unicodedata.normalize("NFD", s), lambda s: s + "1", lambda s: s + "\u200b", lambda s: s + ".50"])
        other = change(base)
        path = folder / f"ids{index}.jsonl"
        path.write_text("".join(json.dumps({"text": "t", "who": one}) + "\n" for one in (base, other)))

        def reference(a=base, b=other):
            number = lambda s: decimal.Decimal(s) if all(c in "0123456789." for c in s) and not (s[:1] == "0" and s[1:2].isdigit()) else None  # noqa: E731
            same = a == b or (number(a) is not None and number(a) == number(b))
            if not same and fold(a) == fold(b):
                raise ValueError("refused")
            return same

        yield f"{base!r} {other!r}", dict(kind="units", path=str(path), column="who", rule="checked"), reference


def compare(name, cases, program, same):
    """Asks the program for all of a kind, and counts."""
    cases = list(cases)
    lines = "\n".join(json.dumps(request) for _, request, _ in cases)
    found = subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout.split("\n")
    counts, shown = collections.Counter(), []
    for (what, _, reference), line in zip(cases, found):
        answer = json.loads(line)
        try:
            expected = reference()
        except Exception:
            expected = None
        if "error" in answer:
            kind = "both refused" if expected is None else "refused by rldp"
        elif expected is None:
            kind = "refused by the reference"
        else:
            kind = "equal" if same(answer["ok"], expected) else "different"
        counts[kind] += 1
        if kind == "different" or (kind == "refused by the reference" and name == "ids") or (kind == "refused by rldp" and "-v" in sys.argv):
            shown.append((what[:300], answer["ok"], expected))
    print(f"{name}: {len(cases)} cases: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    for what, ours, theirs in shown[:5]:
        print(f"  {what}\n    rldp {ours!r}\n    reference {theirs!r}")
    return counts["different"]


def main():
    """All kinds."""
    program, seed = sys.argv[1], int(sys.argv[2])
    rng = random.Random(seed)
    equal = lambda a, b: a == b  # noqa: E731
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        wrong += compare("expressions", template_cases(rng, list(expressions(rng, 2000)), True), program, equal)
        if len(sys.argv) > 3:
            sources = [(path.stem, path.read_text()) for path in sorted(pathlib.Path(sys.argv[3]).glob("*.jinja"))]
            for round_ in range(12):
                wrong += compare(f"public templates, round {round_}", template_cases(rng, sources, round_ < 3), program, equal)
        wrong += compare("CSV", csv_cases(rng, folder, 1000, False), program, equal)
        wrong += compare("CSV with a byte changed", csv_cases(rng, folder, 1000, True), program, equal)
        wrong += compare("JSON", json_cases(rng, folder, 1000), program, equal)
        units = lambda found, one: (found[0][0] == found[1][0]) == one  # noqa: E731
        wrong += compare("ids", id_cases(rng, folder, 1000), program, units)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
