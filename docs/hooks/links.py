"""Links of pages to files of the repository: on the site as in the repository, also to files outside of docs/.

A Markdown file that is linked becomes a page, a file of code a page that shows it. The paths in the sources are those
of the repository; a target that is not there is left as it is, and a strict build fails on it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PLACES = {"README.md": "index.md"}  # the home of the repository is that of the site
LANGUAGES = {".py": "python", ".yaml": "yaml", ".cfg": "ini", ".json": "json", ".csv": "text"}
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[#)])")
CODE = re.compile(r"^( *)(```+).*?^\1\2 *$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to and what the navigation names, and in turn what that links to."""
    places = {file.src_uri for file in files.documentation_pages()} | set(_names(config.nav))
    todo = [_path_of(place) for place in sorted(places)]
    seen = set(todo)
    while todo:
        path = todo.pop()
        place = _place(path)
        if files.get_file_from_path(place) is None and (ROOT / path).is_file():
            files.append(_file(path, place, config))
        for target in _targets(path) - seen:
            seen.add(target)
            todo.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn paths of the repository into paths of the site."""
    path, here = _path_of(page.file.src_uri), posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = _resolve(path, match[0])
        return posixpath.relpath(_place(target), here or ".") if (ROOT / target).exists() else match[0]

    return _outside_code(markdown, lambda text: LINK.sub(moved, text))


def _names(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    items = nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else []
    return [name for item in items for name in _names(item)]


def _file(path: str, place: str, config: MkDocsConfig) -> File:
    source = ROOT / path
    if not place.startswith("source/"):
        return File.generated(config, place, abs_src_path=str(source))
    language = LANGUAGES[source.suffix]
    text = (
        f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n````{language}\n{source.read_text(encoding='utf-8')}````\n"
    )
    return File.generated(config, place, content=text)


def _targets(path: str) -> set[str]:
    """Files of the repository that a page links to."""
    if not path.endswith(".md") or not (ROOT / path).is_file():
        return set()
    targets: set[str] = set()
    _outside_code(
        (ROOT / path).read_text(encoding="utf-8"),
        lambda text: targets.update(_resolve(path, name) for name in LINK.findall(text)) or text,
    )
    return {target for target in targets if (ROOT / target).is_file()}


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """The text with what is no code changed."""
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [change(markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(markdown[end:])])


def _resolve(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _path_of(place: str) -> str:
    """The path in the repository of a page of the site."""
    return f"docs/{place}" if (ROOT / "docs" / place).is_file() else place


def _place(path: str) -> str:
    """The path on the site, without the ending .html, of a file of the repository."""
    if path in PLACES:
        return PLACES[path]
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    if Path(path).suffix in LANGUAGES:
        return f"source/{path}.md"
    return path.removeprefix("docs/")
