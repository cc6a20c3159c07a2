"""A program in the idiom of version 0.5.13, in 45 steps. It runs unchanged with `bodies="plain"`.

`python program_of_0_5.py HOST KEY [OPTIONS]`: options of the client, as JSON; 0.5.13 takes none. It
prints one line for each step, the same with both versions.
"""

import asyncio
import collections
import copy
import csv
import io
import itertools
import json
import pickle
import pprint
import sqlite3
import statistics
import sys
from datetime import datetime, timezone

import humanloop
from humanloop import ApiException, Humanloop
from humanloop.exceptions import ApiStreamingException

host, key, *rest = sys.argv[1:]
client = Humanloop(api_key=key, host=host, **json.loads(rest[0] if rest else "{}"))
step = itertools.count(1)


def show(*values):
    print(next(step), *values)


MODEL = {
    "model": "gpt-4",
    "provider": "mock",
    "temperature": 0.7,
    "max_tokens": 16,
    "stop": ["END"],
}
MESSAGES = [{"role": "user", "content": "Say it."}]

# Projects: reading and changing what a call returned.
project = client.projects.create(name="old", feedback_types=[{"type": "mood"}])
show(project.status, type(project.body) is dict, isinstance(project.body, dict))
show(project.body["name"] == "old", project.body.get("active_config") is None)
show(isinstance(project.round_trip_time, float), project.headers["Content-Type"])
show(project.response.status, json.loads(project.response.data)["name"])
project.body["note"] = "mine"
project.body["tags"] = ["a"]
project.body["tags"].append("b")
show(project.body["tags"], "note" in project.body, project.body.pop("note"))
del project.body["tags"]
show(json.loads(json.dumps(project.body)) == project.body)
show(len(json.dumps(project.body, indent=2, sort_keys=True).splitlines()) > 5)

# Logs: one, several, with free-form values.
inputs = {"count": 3, "share": 0.25, "whole": 2.0, "ok": True, "none": None, "list": [1, 2.5, "x"]}
one = client.log(
    project="old", config={**MODEL, "type": "model"}, inputs=inputs, output="One", duration=0.7
)
show(type(one.body) is dict, sorted(one.body)[:2])
many = client.log(
    body=[
        {
            "project": "old",
            "config": {**MODEL, "type": "model", "temperature": number / 10},
            "inputs": {"number": number},
            "output": f"Answer {number}",
            "created_at": datetime(2024, 2, number + 1, tzinfo=timezone.utc).isoformat(),
        }
        for number in range(3)
    ]
)
show(type(many.body) is list, len(many.body), isinstance(many.body, list))
page = client.projects.export(id=project.body["id"], page=0, size=50).body
show(page["total"] == 4, type(page["total"]) is int, list(range(page["total"])))
records = page["records"]
show(isinstance(records, list), len(records), type(records[0]) is dict)
log = next(r for r in records if r["output"] == "One")
show(log["config"]["temperature"] == 0.7, isinstance(log["config"]["temperature"], float))
show(log["config"]["max_tokens"] == 16, isinstance(log["config"]["max_tokens"], int))
show(log["config"]["stop"] == ["END"], type(log["config"]["stop"]) is list)
show(log["inputs"] == inputs, log["inputs"]["none"] is None, log["inputs"]["ok"] is True)
show(json.dumps(log["inputs"]) == json.dumps(inputs), log["inputs"]["list"] + [3])
show(log["duration"] + 0.1, log["duration"] * 2, f"{log['duration']:.3f} {log['duration']!r}")
show(f"{log['inputs']['count']:03d} {log['inputs']['whole']} %d %s" % (3, log["inputs"]["ok"]))

# What programs do with records.
records.sort(key=lambda r: r["output"])
show([r["output"] for r in records])
show([r["output"] for r in sorted(records, key=lambda r: r["config"]["temperature"], reverse=True)])
show(
    sum(r["config"]["temperature"] for r in records),
    max(r["inputs"].get("number", 0) for r in records),
)
show(round(statistics.mean(r["config"]["temperature"] for r in records), 6))
more = records + [dict(records[0])]  # noqa: RUF005
show(len(more), len(records[:2] + records[2:]), len([*records, None]))
records.append({"output": "mine", "config": None})
records.extend([{"output": "also mine"}])
show(records.pop()["output"], records.pop()["config"] is None, len(records))
records[0]["config"]["temperature"] += 1
show(records[0]["config"]["temperature"] > 0.9)
copied = copy.deepcopy(records)
copied[0]["output"] = "changed"
show(copied == records, copied[1:] == records[1:], records[0]["output"])
show({**log, "output": "new"}["output"], dict(log, output="newer")["output"], dict(**log) == log)
log.update(extra=[1], output="One!")
show(log["extra"], log.get("nothing") is None, log.setdefault("tags", []), log["tags"].append(1))
show([key for key, value in sorted(log.items()) if value == [] or isinstance(value, dict)])
show(collections.Counter(r["config"]["model"] for r in records).most_common(1))
show(pickle.loads(pickle.dumps(records)) == records, type(pickle.loads(pickle.dumps(page))) is dict)
show(pprint.pformat(log["config"]["stop"]), pprint.pformat({"t": log["config"]["temperature"]}))
written = io.StringIO()
writer = csv.DictWriter(written, ["output", "count"], extrasaction="ignore", lineterminator="|")
writer.writerows({**r, "count": r["config"]["max_tokens"]} for r in records)
show(written.getvalue())
database = sqlite3.connect(":memory:")
database.execute("create table logs (output text, temperature real, tokens integer, raw text)")
database.executemany(
    "insert into logs values (?, ?, ?, ?)",
    [
        (r["output"], r["inputs"].get("share"), r["config"]["max_tokens"], json.dumps(r))
        for r in records
    ],
)
show(database.execute("select count(*), sum(tokens), max(temperature) from logs").fetchone())
database.close()

# Feedback and updates.
feedback = client.feedback(type="rating", value="good", data_id=log["id"])
show(type(feedback.body), json.dumps(feedback.body.get("value")))
updated = client.logs.update(id=log["id"], output="Two").body
show(updated["output"], updated["feedback"][0]["type"], isinstance(updated["feedback"], list))

# Models.
chat = client.chat(
    project="old", messages=MESSAGES, model_config={"model": "m", "provider": "mock"}
)
show(
    chat.status,
    isinstance(chat.body["data"], list),
    isinstance(chat.body["data"][0]["output"], str),
)
show(type(chat.body["data"][0]["index"]) is int, chat.body["data"][0]["index"] + 1)

# Errors.
try:
    client.projects.get(id="pr_unknown")
except humanloop.ApiException as error:
    show(error.status, error.reason, type(error.body), error.headers["Content-Type"])
try:
    client.projects.create(name="old")
except ApiException as error:
    show(error.status, json.loads(json.dumps(error.body)) == error.body)


# In an event loop, and streams.
async def main():
    found, listed = await asyncio.gather(
        client.projects.aget(id=project.body["id"]), client.projects.alist(page=0, size=10)
    )
    found.body["records"] = listed.body["records"]
    show(found.status, type(found.body["records"]) is list, listed.body["total"] == 1)
    answer = await client.achat(
        project="old", messages=MESSAGES, model_config={"model": "m", "provider": "mock"}
    )
    answer.body["data"].append({"output": "another"})
    show([type(sample) is dict for sample in answer.body["data"]])
    stream = await client.chat_stream(
        project="old", messages=MESSAGES, model_config={"model": "m", "provider": "mock"}
    )
    tokens = [token async for token in stream.content]
    show(stream.status, len(tokens) > 0, {type(token) for token in tokens}, sorted(tokens[0]))
    show("".join(token["output"] for token in tokens) != "", json.dumps(tokens)[:2])
    try:
        await client.chat_deployed_stream(project="none", messages=MESSAGES)
    except ApiStreamingException as error:
        show(error.status, error.reason)


asyncio.run(main())
