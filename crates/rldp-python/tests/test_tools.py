"""Plans, accounting, evaluation, generation, audits: what the command line finds, as objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pyarrow
import pytest

import rldp
from rldp import privacy


def command_line(*words: object) -> str:
    ran = subprocess.run([sys.executable, "-m", "rldp", *map(str, words)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_command_line_is_in_the_wheel() -> None:
    script = Path(sys.executable).with_name("rldp")
    version = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert version.returncode == 0 and version.stdout == f"rldp {rldp.__version__}\n"
    wrong = subprocess.run([script, "train", "--nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: unexpected argument '--nonsense'")


def test_a_grid_starts_its_runs_anew_from_the_wheel(demo: rldp.Demo, tmp_path: Path) -> None:
    """Runs of a comparison are processes of their own, of this program and not of the bare interpreter."""
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'[base]\nmodel = "{demo.model}"\ntrain = "{demo.train}"\neval = "{demo.eval}"\nunit_column = "patient"\nepsilon = 8\n'
        'delta = 1e-4\nsteps = 2\nbatch_size = 12\nmax_length = 48\n\n[axes]\nseed = [1]\n\n[[method]]\nname = "plain"\n'
    )
    ran = subprocess.run([sys.executable, "-m", "rldp", "compare", grid, "--out", tmp_path / "grid"], capture_output=True, text=True)
    assert ran.returncode == 0 and "plain" in ran.stdout, ran.stderr


def test_accounting_is_the_command_lines() -> None:
    plan = {"sampling_rate": 0.01, "noise_multiplier": 1.0, "steps": 1000}
    found = privacy.epsilon(**plan, delta=1e-5)
    words = "privacy epsilon --sampling-rate 0.01 --noise-multiplier 1.0 --steps 1000 --delta 1e-5 --json"
    assert found == json.loads(command_line(*words.split()))["epsilon"]
    assert privacy.epsilon(segments=[(0.01, 1.0, 1000)], delta=1e-5) == found
    assert privacy.epsilon(segments=[(0.01, 1.0, 500), (0.01, 2.0, 500)], delta=1e-5) < found
    needed = privacy.calibrate(epsilon=found, delta=1e-5, steps=1000, units=1000, batch_size=10)
    assert abs(needed["noise_multiplier"] - 1) < 1e-3 and needed["epsilon"] <= found
    with pytest.raises(rldp.SettingError, match="'--sampling-rate <SAMPLING_RATE>' cannot be used with"):
        privacy.epsilon(segments=[(0.01, 1.0, 1000)], sampling_rate=0.01, delta=1e-5)
    with pytest.raises(rldp.SettingError, match="required arguments were not provided"):
        privacy.epsilon(delta=1e-5)
    with pytest.raises(rldp.RldpError):
        privacy.epsilon(segments=[(2.0, 1.0, 10)], delta=1e-5)


def test_a_plan_costs_nothing_and_counts_units_of_a_table(notes: pandas.DataFrame) -> None:
    declared = rldp.plan(units=60, epsilon=8, delta=1e-4)
    counted = rldp.plan(train=notes, unit_column="patient", epsilon=8, delta=1e-4)
    assert counted["units"] == 60 and counted["plans"] == declared["plans"]
    assert declared["plans"][declared["recommended"]]["steps"] > 0


def test_an_adapter_has_one_perplexity(run: rldp.Run, demo: rldp.Demo, public: pandas.DataFrame) -> None:
    inside = run.metrics[run.metrics.kind == "eval"].iloc[-1]
    outside = rldp.evaluate(model=demo.model, adapter=run.adapter, data=public)
    assert outside["records"] == len(public) and abs(outside["nll"] - inside.nll) < 1e-6 * inside.nll
    words = ["evaluate", f"--model={demo.model}", f"--adapter={run.adapter}", f"--data={demo.eval}", "--json"]
    assert json.loads(command_line(*words)) == outside
    assert rldp.evaluate(model=demo.model, data=pyarrow.Table.from_pandas(public))["nll"] > 0


def test_texts_are_continued(run: rldp.Run, demo: rldp.Demo) -> None:
    words = ["generate", f"--model={demo.model}", f"--adapter={run.adapter}", "--prompt=Patient", "--max-new-tokens=8"]
    found = rldp.generate(model=demo.model, adapter=run.adapter, prompt="Patient", max_new_tokens=8)
    assert found + "\n" == command_line(*words) and found


def test_a_prompt_end_means_itself(demo: rldp.Demo) -> None:
    frame = pandas.DataFrame({"prompt": ["The patient"], "completion": [" was seen."]})
    joined = [rldp.evaluate(model=demo.model, data=frame, prompt_end=end)["nll"] for end in ("\n", "\\n")]
    assert joined[0] == rldp.evaluate(model=demo.model, data=frame)["nll"] != joined[1]


def test_conversations_go_over_as_parquet_has_them(demo: rldp.Demo, tmp_path: Path) -> None:
    """Lists of structs, with nulls, and maps: the same tokens, in memory and from a file."""
    import shutil

    import pyarrow.parquet

    model = tmp_path / "model"
    shutil.copytree(demo.model, model)
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }} {{ m | tojson }}\n{% endfor %}")
    talk = [
        {"role": "user", "content": "How is the patient?", "name": None, "odds": {"n": 1, "at": 0.5, "good": True}},
        {"role": "assistant", "content": "The patient is \"well\".\n", "name": "é", "odds": None},
    ]
    table = pyarrow.table({"messages": [talk, talk[:2]]})
    pyarrow.parquet.write_table(table, tmp_path / "talk.parquet")
    file = rldp.evaluate(model=model, data=tmp_path / "talk.parquet")
    kinds = {
        "table": table,
        "frame": table.to_pandas(),
        "large": table.cast(pyarrow.schema([("messages", pyarrow.large_list(table.schema.field("messages").type.value_type))])),
    }
    for name, data in kinds.items():
        assert rldp.evaluate(model=model, data=data) == file, name


def test_an_audit_reads_tables(run: rldp.Run, demo: rldp.Demo, notes: pandas.DataFrame, public: pandas.DataFrame) -> None:
    options = {"model": demo.model, "adapter": run.adapter, "bootstrap": 20}
    found = rldp.audit(members=notes.head(20), non_members=public, **options)
    assert found["membership"]["members"] == 20 and found["membership"]["non_members"] == len(public)
    with pytest.raises(rldp.SettingError, match="give a run that was trained with"):
        rldp.audit(run.path)


def test_a_run_of_tables_is_audited_with_them(small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path) -> None:
    run = rldp.train(**small, train=notes, out=tmp_path / "run", hold_out_members=True)
    with pytest.raises(rldp.RefusedError, match="memory of a Python program"):
        rldp.audit(run.path, bootstrap=20)
    found = rldp.audit(run.path, train=notes, bootstrap=20)
    assert found["membership"]["members"] + found["membership"]["non_members"] == 60
    with pytest.raises(rldp.SettingError, match="train must be a table"):
        rldp.audit(run.path, train="train.csv")
