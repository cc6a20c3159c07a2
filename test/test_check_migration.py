"""`humanloop check-migration`: the lines that it names, and those that it leaves alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from humanloop import cli
from humanloop.check_migration import check_source

START = """
import copy, json
from json import dumps
import humanloop
from humanloop import ApiException, Humanloop

client = Humanloop(api_key="k")
response = client.projects.list()
body = response.body
"""


def named(program: str) -> list[str]:
    """The lines of a program that are named, from those that follow its start."""
    lines = (START + dedent(program)).splitlines()
    return [lines[finding.line - 1].strip() for finding in check_source("\n".join(lines))]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("body['next'] is None", "write `== None`"),
        ("body['next'] is not None", "write `!= None`"),
        ("body.get('next') is None", "write `== None`"),
        ("body['records'][0]['active'] is True", "write `== True`"),
        ("client.projects.get(id='pr_1').body['active'] is False", "write `== False`"),
        ("None is body['next']", "write `== None`"),
        ("body['records'] == []", "is a tuple"),
        ("[1, 2] != body['values']", "is a tuple"),
        ("body['config'] == {'stop': ['END'], 'model': 'm'}", "is a tuple"),
        ("body['records'] == [r for r in range(3)]", "is a tuple"),
        ("isinstance(body['total'], int)", "test for decimal.Decimal, not int"),
        ("isinstance(body['total'], (int, float))", "not float or int"),
        ("isinstance(body['records'], list)", "test for tuple, not list"),
        ("isinstance(body, dict)", "test for collections.abc.Mapping, not dict"),
        ("isinstance(body['flag'], bool)", "BoolClass, not bool"),
        ("type(body['records']) is list", "test for tuple, not list"),
        ("type(body) == dict", "not dict"),
        ("isinstance(body['next'], type(None))", "NoneClass, not NoneType"),
        ("json.dumps(body)", ".to_primitive()"),
        ("dumps(body['records'], indent=2)", ".to_primitive()"),
        ("json.dump(body, open('f', 'w'))", ".to_primitive()"),
        ("json.dumps({'records': body['records']})", ".to_primitive()"),
        ("json.dumps({'seconds': body['duration'] * 1000})", ".to_primitive()"),
        ("json.dumps(round(body['duration'], 2))", ".to_primitive()"),
        ("json.dumps(sum(log['duration'] for log in body['records']))", ".to_primitive()"),
        ("json.dumps(dict(body))", ".to_primitive()"),
        ("json.dumps(dict(**body))", ".to_primitive()"),
        ("json.dumps({**body, 'k': 1})", ".to_primitive()"),
        ("json.dumps([r['score'] for r in body['records']])", ".to_primitive()"),
        ("json.dumps(sorted(body['records']))", ".to_primitive()"),
        ("requests.post('http://x', json=body)", ".to_primitive()"),
        ("body['records'] + [1]", "[*a, *b]"),
        ("[1] + body['records']", "[*a, *b]"),
        ("body['records'].append(1)", "can't be changed"),
        ("body['records'].sort(key=str)", "can't be changed"),
        ("body.update(name='x')", "can't be changed"),
        ("body.setdefault('name', 'x')", "can't be changed"),
        ("copy.deepcopy(body)['records'].append(1)", "can't be changed"),
        ("dict(body)['records'].append(1)", "can't be changed"),
        ("body['name'] = 'x'", "can't be changed"),
        ("body['records'][0]['name'] = 'x'", "can't be changed"),
        ("body['total'] += 1", "can't be changed"),
        ("del body['name']", "can't be changed"),
        ("-(-body['total'] // 10)", "write `math.ceil(a / b)`"),
        ("import humanloop.rest", "use humanloop.transport"),
        (
            "from humanloop.type.chat_message import ChatMessage, X",
            "use humanloop.model.chat_message",
        ),
        ("from humanloop.model.log_response import Feedback", "import it from humanloop.model"),
        ("humanloop.exceptions.AnyOfValidationError", "use humanloop.SchemaValidationError"),
    ],
)
def test_a_line_and_its_reason(line: str, reason: str) -> None:
    (finding,) = check_source(START + line)
    assert finding.line == START.count("\n") + 1
    assert reason in finding.reason


def test_values_are_followed() -> None:
    program = """
    for record in body["records"]:
        print(record["next"] is None)                       # named
    for key, value in body.items():
        print(value is None, isinstance(value, list))       # named named
    for index, record in enumerate(body["records"]):
        record["n"] = index                                 # named
    first, *rest = body["records"]
    rest[0].pop("n")                                        # named
    with Humanloop() as other:
        found = other.logs.log(output="x").body["id"]
        config = other.model_configs.get(id="c").body.get("config", {})
        config["temperature"] = 0.5                         # named
    gone = [r for r in body["records"] if r["end"] is None] # named
    gone[0]["end"] = 1                                      # named
    rows = []
    for record in body["records"]:
        rows.append(record)
    json.dumps(rows)                                        # named
    rows = rows + body["records"]                           # named
    rows = []
    rows += body["records"]
    json.dump(rows, open("f", "w"))                         # named
    listed = ["END"]
    print(body["stop"] == listed)                           # named
    rows = {}
    rows["n"] = body["total"]
    json.dumps(rows)                                        # named
    latest = max(body["records"], key=lambda r: r["created_at"])
    latest["n"] = 1                                         # named
    if (last := body["last"]) is None:                      # named
        pass
    for event in client.chat(messages=[], stream=True):
        event["data"].append(1)                             # named
    for log in client.projects.iterate_export(id="p"):
        log["n"] = 1                                        # named
    match body["next"]:
        case None:                                          # named
            pass
        case float():                                       # named
            pass
    """
    expected = [line for line in dedent(program).splitlines() for _ in re.findall("named", line)]
    assert named(program) == [line.strip() for line in expected]


def test_functions_methods_and_tasks_are_followed() -> None:
    program = """
    def fetch(page):
        return client.projects.list(page=page)

    def rate(log, good):
        log["rating"] = good                                # named

    def all_logs():
        for log in fetch(1).body["records"]:
            yield log

    for log in all_logs():
        rate(log, good=True)
        log["n"] = 1                                        # named

    class Store:
        def __init__(self):
            self.client = Humanloop()
            self.cache = self.load()

        def load(self):
            return self.client.projects.list().body

        def save(self):
            json.dump(self.cache, open("f", "w"))           # named

    def typed(api: Humanloop, answer: "humanloop.ApiResponse"):
        api.logs.log(output="x").body["n"] = 1              # named
        answer.body["n"] = 1                                # named

    def untyped(api):
        api.logs.log(output="x").body["n"] = 1              # named

    async def main():
        one = await client.projects.aget(id="p")
        one.body["n"] = 1                                   # named
        many = await asyncio.gather(*(client.projects.aget(id=i) for i in "ab"))
        for answer in many:
            answer.body["n"] = 1                            # named
        for task in [asyncio.create_task(client.projects.aget(id=i)) for i in "ab"]:
            (await task).body["n"] = 1                      # named
            task.result().body["n"] = 1                     # named
        (await asyncio.to_thread(client.projects.list)).body["n"] = 1  # named

    with ThreadPoolExecutor() as pool:
        one = pool.submit(client.projects.get, id="p")
        one.result().body["n"] = 1                          # named
        for answer in pool.map(client.projects.get, ["p"]):
            answer.body["n"] = 1                            # named
    """
    expected = [line for line in dedent(program).splitlines() if "named" in line]
    assert named(program) == [line.strip() for line in expected]


def test_other_values_are_left_alone() -> None:
    program = """
    print(response is None, response.status is None, client is None)
    print(response.headers.get("x") is None)
    plain = body.to_primitive()
    plain["records"].append(1)
    json.dumps(plain), json.dumps(client.projects.get(id="p").body.to_primitive())
    print(body["total"] + 1 == 3, body["score"] == 0.7, range(body["total"]), body["name"] == "x")
    print(isinstance(body["name"], str), isinstance(body["records"], (list, tuple)))
    print(isinstance(body["total"], (int, float, Decimal)))
    json.dumps({"id": body["id"], "count": int(body["total"]), "tags": []})
    json.dumps({"name": body["name"], "role": body["messages"][0]["role"]})
    json.dumps({index: round(record["score"]) for index, record in enumerate(body["records"])})
    json.dumps([key for key, value in body.items() if value])
    row = {"log": body["records"][0], "tags": []}
    row["tags"].append(1)
    row["new"] = 1
    line = {}
    line["log"] = body["records"][0]
    line["tags"] = []
    line["tags"].append(1)
    lines = []
    lines.append(body["name"])
    lines.append([1])
    lines += body["records"]
    names = list(body["records"])
    names.append(1)
    names == []
    expected = {"a": 1}
    body["inputs"] == expected
    expected["b"] = 2
    body["inputs"] == expected
    body = json.load(open("f"))
    body["n"] = None
    body["n"] is None
    json.dumps(body)

    def unrelated(body, response, client=None):
        body["n"] = 1
        return body["n"] is None or client is None or json.dumps(body)

    class Other:
        def __init__(self):
            self.client = make()
        def go(self):
            return self.client.projects.list().body["n"] is None

    name = body["name"] or "no name"
    print(name is None)
    from helpers import run
    answer = run(client)
    answer.get("x").body["n"] = 1

    skipped = client.projects.list(skip_deserialization=True).body
    skipped["n"] = None
    client.projects.list(bodies="plain").body["records"].append(1)
    client.with_options(bodies="plain").projects.list().body["records"].append(1)
    with Humanloop(bodies="plain") as plain_client:
        plain_client.projects.list().body["records"].append(1)
    """
    assert named(program) == []


@pytest.mark.parametrize(
    "making",
    [
        'client = Humanloop(api_key="k", bodies="plain")',
        'client = Humanloop(Configuration(api_key="k", bodies="plain"))',
        'c = Configuration(api_key="k", bodies="plain")\nclient = Humanloop(c)',
        'client = Humanloop(configuration=Configuration(bodies="plain"))',
        'client = Humanloop(api_key="k", skip_deserialization=True)',
        'client = Humanloop().with_options(bodies="plain")',
        'client = Humanloop()\nclient.configuration.bodies = "plain"',
        'c = Configuration()\nc.bodies = "plain"\nclient = Humanloop(c)',
        'options = {"bodies": "plain"}\nclient = Humanloop(**options)',
    ],
)
def test_with_plain_bodies_only_imports_are_named(making: str) -> None:
    program = f"""
from humanloop import Configuration, Humanloop
from humanloop.models import ChatMessage
{making}
body = client.projects.list().body
body["records"].append(None)
print(body["next"] is None)

def f(client: Humanloop):
    client.projects.list().body["n"] = 1
"""
    assert [finding.line for finding in check_source(program)] == [3]


def test_one_call_with_plain_bodies_is_no_switch() -> None:
    program = """
    def f(client: Humanloop):
        plain = client.projects.list(bodies="plain").body
        plain["n"] = 1
        client.projects.list().body["n"] = 1                # named
    """
    assert len(named(program)) == 1


def test_long_chains_take_no_time() -> None:
    chain = "body" + ".get('a').items('b').c['d']" * 12
    assert (
        named(f"x = {chain}\ny = {'f(' * 40}1{')' * 40}\nz = {'[x for x in ' * 15}w{']' * 15}")
        == []
    )


def test_one_program_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "start.py").write_text(
        "from humanloop import Humanloop\nclient = Humanloop(bodies='plain')\n"
    )
    part = tmp_path / "parts" / "one.py"
    part.parent.mkdir()
    part.write_text(
        "from humanloop import Humanloop\n\n"
        "def f(client: Humanloop):\n    client.projects.list().body['n'] = 1\n"
    )
    assert cli.main(["check-migration", str(tmp_path)]) == 0
    assert cli.main(["check-migration", str(part)]) == 1


def test_the_command(tmp_path: Path) -> None:
    program = tmp_path / "old.py"
    program.write_text(START + "\nif body['next'] is None:\n    import humanloop.rest\n")
    unrelated = tmp_path / "new.py"
    unrelated.write_text("x = {}\nprint(x.get('y') is None)\n")
    broken = tmp_path / "broken.py"
    broken.write_text("def\n")
    for command in (["-m", "humanloop"], ["-m", "humanloop.cli"]):
        done = run(*command, "check-migration", "old.py", "new.py", cwd=tmp_path)
        assert done.returncode == 1
        first, second = done.stdout.splitlines()
        assert first.startswith("old.py:11:4: true, false and null of a body are objects")
        assert second.startswith("old.py:12:5: humanloop.rest of version 0.5 is gone: use")
    assert run("-m", "humanloop", "check-migration", "new.py", cwd=tmp_path).returncode == 0
    for missing in ("broken.py", "none.py"):
        done = run("-m", "humanloop", "check-migration", "old.py", missing, cwd=tmp_path)
        assert (done.returncode, len(done.stdout.splitlines())) == (2, 2)
        assert f"humanloop: {missing}: " in done.stderr
    assert run("-m", "humanloop", "check-migration", cwd=tmp_path).returncode == 2


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(START + "body['n'] = 1\n" * 10_000)
    command = [sys.executable, "-m", "humanloop", "check-migration", "old.py"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_notebook(tmp_path: Path) -> None:
    sources = [
        "# Logs",
        ["%pip install humanloop\n", "files = !ls\n", "from humanloop import Humanloop\n"],
        "%%bash\nls -l",
        "if True:\n    %time f()\nclient = Humanloop()\nclient?\n"
        "body = client.projects.list().body",
        "body['next'] is None\nprint(f'{1:>5}?')",
    ]
    cells = [
        {"cell_type": "code" if number else "markdown", "source": source}
        for number, source in enumerate(sources)
    ]
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "odd.ipynb").write_text('{"worksheets": []}')
    done = run("-m", "humanloop", "check-migration", ".", cwd=tmp_path)
    assert re.findall(r"^.*?: ", done.stdout, re.M) == ["one.ipynb:cell 5:1:1: "]
    assert done.stderr == "humanloop: odd.ipynb: it is no notebook of format 4: KeyError('cells')\n"


def test_the_standard_input(tmp_path: Path) -> None:
    program = START + "body['n'] = '\\d'"
    done = run(
        "-W", "always", "-m", "humanloop", "check-migration", "-", cwd=tmp_path, text=program
    )
    assert re.findall(r"^.*?: ", done.stdout, re.M) == ["-:10:1: "]
    assert done.stderr == ""


def test_a_directory_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(START + "body['n'] = 1")
    (tmp_path / "again").symlink_to(tmp_path)
    done = run("-m", "humanloop", "check-migration", ".", cwd=tmp_path)
    assert re.findall(r"^.*?: ", done.stdout, re.M) == ["one.py:10:1: "]


def run(*arguments: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, check=False)
