from __future__ import annotations

import ast

from orchestra_stack.tasks import STOP, tasks


def test_sixteen_tasks_with_names_of_their_own() -> None:
    found = tasks()
    assert len(found) >= 16
    assert len({task.task_id for task in found}) == len({task.prompt for task in found}) == len(found)


def test_each_is_python_once_a_body_stands() -> None:
    for task in tasks():
        names = [
            node.name
            for node in ast.parse(task.prompt + " return None").body
            if isinstance(node, ast.FunctionDef)
        ]
        assert names == [task.task_id.replace("-", "_")]


def test_no_stop_text_is_in_the_way_of_a_body() -> None:
    for stop in STOP:
        assert not stop.startswith("\n    ")
