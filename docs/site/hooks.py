"""Pages of the documentation site that come from the code, links that leave the site, and formulas."""

import argparse
import importlib.metadata
import os
import re
import runpy
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SETTINGS = "reference/settings.md"
COPIES = {  # pages of the site that are files of the repository
    SETTINGS: ROOT / "config" / "README.md",
    "reference/network.md": ROOT / "src" / "fourdcrystal" / "data" / "network.md",
    "reference/refiner.md": ROOT / "src" / "fourdcrystal" / "data" / "refiner.md",
    "reference/changelog.md": ROOT / "CHANGELOG.md",
    "reference/contributing.md": ROOT / "CONTRIBUTING.md",
}
REVIEWED = "2026-11-23"  # when somebody last looked at all pins and licences
REVIEWED_PINS = "9b986b149bf8"  # the first digits of the SHA-256 of requirements.lock on that day
HYDRA = "train.py"  # Hydra prints its help; config/train has its settings


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fences that hold formulas become MathML."""
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [
        {"name": "math", "class": "math", "format": formula},
    ]
    return config


def formula(source: str, *_: object, **__: object) -> str:
    """A TeX formula as MathML, which browsers draw by themselves."""
    return f'<p class="math">{convert(source, display="block")}</p>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    pages = {name: path.read_text() for name, path in COPIES.items()} | {
        "reference/commands.md": commands(),
        "reference/decisions.md": decisions(),
        "reference/python.md": modules(),
        "reference/dependencies.md": dependencies(),
    }
    pages[SETTINGS] = "---\nhide: [toc]\n---\n" + pages[SETTINGS]
    for path in sources():
        name = f"fourdcrystal.{path.stem}"
        text = f"# {name}\n\n::: {name}\n    options: {{show_root_heading: false}}\n"
        pages[f"reference/api/{path.stem}.md"] = text
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to files of the repository lead to their page, or, where they have none, to the repository."""
    uri = page.file.src_uri
    here = COPIES[uri].parent if uri in COPIES else (ROOT / "docs" / uri).parent
    made = {path: name for name, path in COPIES.items()}

    def elsewhere(link: re.Match[str]) -> str:
        target = (here / link[1]).resolve()
        if target in made:
            return f"]({os.path.relpath(made[target], Path(uri).parent)})"
        if uri in COPIES and target.is_file() and target.is_relative_to(ROOT / "docs"):
            return f"]({os.path.relpath(target, (ROOT / 'docs' / uri).parent)})"
        outside = target.exists() and not (target.is_file() and target.is_relative_to(ROOT / "docs"))
        return f"]({config.repo_url}/blob/main/{target.relative_to(ROOT)})" if outside else link[0]

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)\)", elsewhere, markdown)


def sources() -> list[Path]:
    """The package's modules."""
    return sorted(path for path in (ROOT / "src" / "fourdcrystal").glob("*.py") if not path.stem.startswith("__"))


def modules() -> str:
    """A table of all modules with the first sentence of each."""
    lines = ["# Python", "", "Functions and classes, module by module; shapes and units are in their descriptions.", ""]
    lines += ["| module | what it is |", "|---|---|"]
    for path in sources():
        said = re.match(r'"""(.*?)(?:\n\n|""")', path.read_text(), re.DOTALL)
        first = " ".join(said[1].split()) if said else ""
        lines.append(f"| [{path.stem}](api/{path.stem}.md) | {first.replace('|', '&#124;').replace('``', '`')} |")
    return "\n".join(lines) + "\n"


def decisions() -> str:
    """A list of all decision records."""
    lines = ["# Decisions", "", "Hard choices, with what was measured and what follows from them.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text().splitlines()[0].lstrip("# ")
        lines.append(f"* [{title}](../decisions/{path.name})")
    return "\n".join(lines) + "\n"


def dependencies() -> str:
    """A table of every pinned package with its licence."""
    lines = [
        "# Dependencies",
        "",
        f"The pins of `requirements.lock`, last reviewed on {REVIEWED}, and their licences.",
        "",
    ]
    lines += ["`pip-audit -r requirements.lock` compares them with known vulnerabilities; it needs a network.", ""]
    lines += ["| package | version | licence |", "|---|---|---|"]
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        lines.append(f"| {name} | {version} | {licence(name)} |")
    return "\n".join(lines) + "\n"


def licence(package: str) -> str:
    """What an installed package says about its licence."""
    try:
        about = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed here"
    classified = [c.rsplit(" :: ", 1)[-1] for c in about.get_all("Classifier", []) if c.startswith("License :: ")]
    stated = about.get("License-Expression") or ", ".join(classified) or about.get("License") or "not stated"
    return stated.splitlines()[0][:80].replace("|", "&#124;")


def commands() -> str:
    """The help of every command line, as it prints it."""
    lines = ["# Command lines", "", "What each prints with `--help`. A mistake of the user is one sentence and"]
    lines += ["the exit status 2; an interrupted command ends with 130.", ""]
    detect = parser_of(lambda: runpy.run_module("fourdcrystal", run_name="__main__"))
    verbs = next(a for a in detect._actions if isinstance(a, argparse._SubParsersAction)).choices
    for verb, parser in verbs.items():
        lines += [f"## fourdcrystal {verb}", "", f"Also `python -m fourdcrystal {verb}`.", "", *block(parser)]
    for path in sorted((ROOT / "scripts").glob("*.py")):
        if path.name == HYDRA:
            lines += [f"## scripts/{HYDRA}", "", f"`python scripts/{HYDRA} --help` lists Hydra's groups.", ""]
            continue
        parser = parser_of(lambda path=path: runpy.run_path(str(path), run_name="__main__"))
        parser.prog = f"scripts/{path.name}"
        lines += [f"## {parser.prog}", "", *block(parser)]
    return "\n".join(lines)


def block(parser: argparse.ArgumentParser) -> list[str]:
    """The help of a parser as a block of text."""
    return ["```text", parser.format_help().rstrip(), "```", ""]


class _Parsing(Exception):
    """Stops a command line where it would read its options."""


def parser_of(command) -> argparse.ArgumentParser:
    """The parser that a command line uses."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Parsing(parser)

    original, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, stop
    try:
        command()
    except _Parsing as stopped:
        return stopped.args[0]
    finally:
        argparse.ArgumentParser.parse_args = original
    raise RuntimeError("a command line that reads no options")
