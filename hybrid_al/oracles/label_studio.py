"""People who answer in Label Studio: tasks are pushed to its server, and their annotations pulled, by its REST API."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from xml.etree import ElementTree

from ..core.files import write_json
from ..core.rundir import RunDir
from ..core.seals import whole
from ..core.types import Annotation, IntArray
from ..errors import AwaitingLabels, HybridALError, InputError
from .base import Answers, Oracle
from .formats.base import Given, Sheet, labels_of
from .formats.intake import Inbox, Intake
from .formats.label_studio import config, given, results, task
from .formats.sheets import Picture, sheet_of
from .inbox import inbox
from .worklist import WorklistOracle

KEY = "LABEL_STUDIO_API_KEY"
TIMEOUT = 60  # seconds
MOST_BYTES = 50_000_000  # of the tasks that are sent at once; the server takes 200 MB
PULLED = "label_studio.json"


class ServerProblem(HybridALError):
    """A server that cannot be asked, or refuses; the run waits until it can."""


@dataclass(frozen=True)
class LabelStudio:
    """People who answer in Label Studio; the key is that of the environment variable LABEL_STUDIO_API_KEY.

    url      of the server
    project  its number or title; "" is the name of the run. An empty project gets the labels of the run
    costs, answer  see `OracleSettings`
    """

    url: str = "http://localhost:8080"
    project: int | str = ""
    costs: str | None = None
    answer: str | None = None

    holds_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse an address that is none, or that holds a password."""
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InputError("oracle.url", "the address of a server, as http://localhost:8080", repr(self.url))
        if parts.username or parts.password:
            raise InputError("oracle.url", f"an address without a password; the key is in {KEY}", "one with it")

    def open(self, answers: Answers) -> Oracle:
        """See `OracleSettings.open`."""
        return LabelStudioOracle(answers.people(), answers.run, self, answers.picture)

    def find(self, run: RunDir) -> Project:
        """The project of a run; ServerProblem says why there is none."""
        return Project.find(Server(self.url.rstrip("/")), self.project or str(run.facts()["name"]))


@dataclass(frozen=True)
class LabelStudioOracle:
    """Pushes the query and pulls what is answered, each time that it is asked; answers in files are taken as well.

    people  the answers that are there
    """

    people: Oracle
    run: RunDir
    settings: LabelStudio
    picture: Picture

    def annotate(self, query: IntArray, round: int) -> tuple[Annotation, ...]:
        """See `Oracle.annotate`; a server that cannot be reached, or refuses, is AwaitingLabels that says so."""
        try:
            return self.people.annotate(query, round)
        except AwaitingLabels:
            pass
        try:
            where = self._exchange(round)
            return self.people.annotate(query, round)
        except ServerProblem as error:
            where = f"{error}; nothing is lost"
        except AwaitingLabels:
            pass
        missing, asked = self._missing(round)
        raise AwaitingLabels(
            f"round {round} waits for {len(missing)} of {asked} answers in Label Studio ({where}): call the run again"
        )

    def score(self, indices: IntArray, predicted: IntArray) -> dict[int, float]:
        """See `Oracle.score`: nothing."""
        return {}

    def _lists(self) -> tuple[Inbox, WorklistOracle]:
        box = inbox(self.run)
        assert isinstance(box, Inbox)
        return box, box if isinstance(box, WorklistOracle) else box.lists

    def _missing(self, round: int) -> tuple[list[int], int]:
        """The samples of a query without an answer, and how many it asks about."""
        _, lists = self._lists()
        ids = dict.fromkeys(self.run.query_ids(round) or ())
        answered = lists.latest(round)
        return [i for sample in ids if (i := lists.manifest.position[sample]) not in answered], len(ids)

    def _exchange(self, round: int) -> str:
        """Push the tasks that are not there yet, pull what is new; the address of the project."""
        box, lists = self._lists()
        project = self.settings.find(self.run)
        sheet = sheet_of(self.run, round, lists, (), self.picture)
        project.check(sheet)
        tasks = project.tasks()
        self._pull(box, tasks)
        names = {t["data"].get("name") for t in tasks}
        rows, _ = self._missing(round)
        items = sheet_of(self.run, round, lists, rows, self.picture).items
        project.push(task(sheet, item) for item in items if item.name not in names)
        return project.address

    def _pull(self, box: Inbox, tasks: Sequence[dict[str, Any]]) -> None:
        """Take in the annotations that are new or were changed, person by person; tasks of others are left."""
        file = self.run.path / PULLED
        with whole(file):
            before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        now = {str(t["id"]): _stamp(t) for t in tasks}
        intake = Intake(box, empty=False)
        new = [t for t in tasks if now[str(t["id"])] not in ("", before.get(str(t["id"]))) and intake.owns(_name(t))]
        by: dict[str, list[Given]] = {}
        for one in given(self.settings.url, new):
            by.setdefault(one.by, []).append(one)
        for person, answers in by.items():
            if any(one.words or one.marks for one in answers):
                Intake(box, empty=False).take(
                    f"{self.settings.url} annotations of {person}", answers, person, replace=True, say=lambda _: None
                )
        write_json(file, {**before, **now})


def _name(one: Mapping[str, Any]) -> str:
    return str(one["data"].get("name", ""))


def _stamp(one: Mapping[str, Any]) -> str:
    """What changes with the annotations of a task."""
    return " ".join(f"{a.get('id')}:{a.get('updated_at')}" for a in one.get("annotations") or ())


@dataclass(frozen=True)
class Project:
    """A project of a server."""

    server: Server
    id: int
    title: str
    label_config: str

    @classmethod
    def find(cls, server: Server, project: int | str) -> Project:
        """By number or title; ServerProblem where there is none, or several."""
        if isinstance(project, int):
            found = [server.ask("GET", f"/api/projects/{project}/", missing=f"no project {project}")]
        else:
            found = [one for one in server.pages("/api/projects/") if one.get("title") == project]
        if len(found) != 1:
            raise ServerProblem(
                f"{server.url} has {len(found) or 'no'} projects called {project!r}: name one by its number"
            )
        one = found[0]
        return cls(server, int(one["id"]), str(one.get("title")), str(one.get("label_config") or ""))

    @property
    def address(self) -> str:
        """Of its page."""
        return f"{self.server.url}/projects/{self.id}"

    def check(self, sheet: Sheet) -> None:
        """Give an empty project the labels of the run; ServerProblem where one of them is not among its own."""
        try:
            root = ElementTree.fromstring(self.label_config or "<View/>")
        except ElementTree.ParseError as error:
            raise ServerProblem(f"{self.address} has a labeling interface that is no XML ({error})") from None
        if not len(root):
            self.server.ask("PATCH", f"/api/projects/{self.id}/", {"label_config": config(sheet)})
            return
        own = {tag.get("value") for tag in root.iter() if tag.tag in ("Label", "Choice")}
        if lacking := [name for name in labels_of(sheet.kind, sheet.classes) if name not in own]:
            raise ServerProblem(
                f"{self.address} has no label {lacking[0]!r}: paste the config.xml of hybrid-al query --format "
                "label_studio into its labeling interface, or name an empty project"
            )

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks with their annotations."""
        path = f"/api/projects/{self.id}/export?exportType=JSON&download_all_tasks=true"
        tasks = self.server.ask("GET", path)
        if not isinstance(tasks, list) or not all(
            isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks
        ):
            raise ServerProblem(f"{self.server.url}{path} gave no list of tasks")
        return tasks

    def push(self, tasks: Iterator[dict[str, Any]]) -> None:
        """Add tasks, in parts that the server takes."""
        part: list[dict[str, Any]] = []
        size = 0
        for one in tasks:
            part.append(one)
            size += len(one["data"]["image"])
            if size > MOST_BYTES:
                self.server.ask("POST", f"/api/projects/{self.id}/import", part)
                part, size = [], 0
        if part:
            self.server.ask("POST", f"/api/projects/{self.id}/import", part)

    def propose(self, sheet: Sheet, tasks: Sequence[dict[str, Any]]) -> int:
        """Add the proposals of a query to tasks without an answer and a prediction; to how many."""
        items, count = {item.name: item for item in sheet.items if item.proposal is not None}, 0
        for one in filter(lacks_proposal, tasks):
            item = items.get(_name(one))
            if item is not None and item.proposal is not None:
                body = {"task": one["id"], "model_version": sheet.model, "score": item.proposal.score,
                        "result": results(sheet, item, item.proposal)}  # fmt: skip
                self.server.ask("POST", "/api/predictions/", body)
                count += 1
        return count


def lacks_proposal(one: Mapping[str, Any]) -> bool:
    """Whether a task has neither an answer nor a prediction."""
    return not one.get("annotations") and not one.get("predictions")


@dataclass(frozen=True)
class Server:
    """A server of Label Studio. The key is read from the environment for each request, and never kept or said."""

    url: str

    def ask(self, method: str, path: str, body: object = None, *, missing: str = "") -> Any:
        """The answer to a request, as JSON; ServerProblem, in one line, for anything else."""
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise ServerProblem(f"no key in the environment variable {KEY}")
        return self._send(method, path, body, {"Authorization": self._credentials(key)}, missing)

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All results of a list in pages."""
        page, total = 1, 1
        while (page - 1) * 100 < total:
            answer = self.ask("GET", f"{path}?page={page}&page_size=100")
            found = answer.get("results") if isinstance(answer, dict) else answer
            if not isinstance(found, list):
                raise ServerProblem(f"{self.url}{path} gave no list")
            yield from found
            total, page = int(answer.get("count", 0)) if isinstance(answer, dict) else 0, page + 1

    def _credentials(self, key: str) -> str:
        """The header of a key: a personal access token is exchanged for one that is valid for minutes."""
        if key.count(".") != 2:
            return f"Token {key}"
        answer = self._send("POST", "/api/token/refresh/", {"refresh": key}, {}, "")
        if not isinstance(answer, dict) or not answer.get("access"):
            raise ServerProblem(f"{self.url} gave no token for the key in {KEY}")
        return f"Bearer {answer['access']}"

    def _send(self, method: str, path: str, body: object, headers: Mapping[str, str], missing: str) -> Any:
        data = None if body is None else json.dumps(body).encode("utf-8")
        kind = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, {**headers, **kind}, method=method)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise ServerProblem(self._refusal(error.code, method, path, missing)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ServerProblem(f"{self.url} cannot be reached: {' '.join(str(reason).split())}") from None
        try:
            return json.loads(text.decode("utf-8")) if text else None
        except (ValueError, RecursionError):
            raise ServerProblem(f"{self.url}{path} gave no JSON: is that a server of Label Studio?") from None

    def _refusal(self, code: int, method: str, path: str, missing: str) -> str:
        if code in (401, 403):
            return f"{self.url} refused the key in {KEY} ({code})"
        if code == 404 and missing:
            return f"{self.url} has {missing}"
        if code in (301, 302, 303, 307, 308):
            return f"{self.url} sends requests on to another address ({code}): name that one in oracle.url"
        return f"{self.url} answered {code} to {method} {path.partition('?')[0]}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is not carried to another address."""

    def redirect_request(self, *args: Any) -> None:
        """None: the answer that redirects is an HTTPError."""
        return
