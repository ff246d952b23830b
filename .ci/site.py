"""What the site has beside docs/: README as its first page, other files that pages point to, and the package where its docstrings are read.

Hooks of mkdocs (https://www.mkdocs.org/user-guide/configuration/#hooks). Pages stay as they are read in a checkout.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
"""Pages of the site that lie above docs/, and what they are called there."""
_LINK = re.compile(r'(\]\(|src="|href=")([^)\s"#:]+)(?=[)#"])')
_package: tempfile.TemporaryDirectory[str] | None = None


@event_priority(100)  # before mkdocstrings looks where packages are
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lays the checkout out as the package that is installed, so that API pages call things by the names that are imported."""
    global _package
    _package = tempfile.TemporaryDirectory()
    package = Path(_package.name) / "pose_priors"
    package.mkdir()
    for path in ROOT.iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            (package / ("__init__.py" if path.name == "pose_priors.py" else path.name)).symlink_to(path)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_package.name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages above docs/, and the files that any page points to there."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=_moved((ROOT / source).read_text(), source)))
    pages = {
        posixpath.join(DOCS, file.src_uri): file.content_string
        for file in files.documentation_pages()
        if file.src_uri not in PAGES.values()
    }
    for page, text in pages.items():
        for _, target in _LINK.findall(text):
            path = _above(page, target)
            if path is not None and path not in PAGES and (ROOT / path).is_file() and files.get_file_from_path(path) is None:
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """A page whose links go where things are on the site."""
    name = page.file.src_uri
    if name in PAGES.values():
        return markdown  # done when it was added
    return _moved(markdown, posixpath.join(DOCS, name) if (ROOT / DOCS / name).is_file() else name)


def on_post_build(**_: object) -> None:
    """Takes away what was laid out."""
    if _package is not None:
        _package.cleanup()


def _above(page: str, target: str) -> str | None:
    """The path of what a page points to, from the root of the checkout, where that is not below docs/."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    return None if path.startswith((f"{DOCS}/", "..", "/")) else path


def _moved(text: str, source: str) -> str:
    """A page's text with its links as they are on the site, where docs/ is the top. `source` is its path from the root of the checkout."""
    at = posixpath.dirname(source.removeprefix(f"{DOCS}/"))

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        on_site = PAGES.get(path, path.removeprefix(f"{DOCS}/"))
        return found[1] + posixpath.relpath(on_site, at or ".")

    return _LINK.sub(link, text)
