"""What the README shows is there and runs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_example_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    for slow, quick in (("steps=200", "steps=2"), ("num_samples=100", "num_samples=1")):
        assert slow in code
        code = code.replace(slow, quick)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("(1, 24, 34)") == 7


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert targets and [t for t in targets if not (ROOT / t).exists()] == []


def test_commands_are_those_of_the_makefile():
    rules = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", TEXT, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", rules, flags=re.MULTILINE)


def test_nobody_is_told_to_install_the_other_timediff():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md")]:
        if ".venv" not in path.parts:
            assert "pip install timediff" not in path.read_text(), path
