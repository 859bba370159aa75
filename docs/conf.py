"""The documentation site: the pages as they lie in the repository, so that their links hold in both places.

``make docs`` builds it, with every warning an error. Paths are those from the repository's root, and a link
to a module leads to its page of the reference. Notebooks are shown as ``notebooks/execute.py`` left them and
not run again. Formulas become MathML, which browsers draw themselves: no page loads anything from elsewhere.
"""

import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path
from typing import ClassVar
from unicodedata import lookup

import latex2mathml.converter
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from timediff import __version__

ROOT = Path(__file__).resolve().parents[1]
LOG = logging.getLogger(__name__)

project = "timediff"
release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["docs/**", "evaluation/*.md", "notebooks/*.ipynb", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "runs", "timediff", "tests", "datasets"]

html_theme = "furo"
html_title = "timediff"
html_extra_path = ["site"]  # its index.html leads on to the front page
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

default_role = "py:obj"  # as the docstrings have it
autodoc_member_order = "bysource"
autodoc_default_options = {"no-value": True}
autodoc_mock_imports = ["darts", "sktime", "skpro"]  # that the adapters are of
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are not listed twice
napoleon_use_rtype = False

#: What the converter leaves as it is behind a size.
BARE = {r"\{": "{", r"\}": "}", r"\|": "\N{DOUBLE VERTICAL LINE}"}
#: What types are spelled as, and what they are called in the source.
TYPES = {
    r"~(?:numpy|typing|types)(?:\.\w+)*\.(\w+)": r"\1",
    r"_Buffer \| _SupportsArray\[.+?\] \| complex \| bytes \| str \| _NestedSequence\[.+?\]": "ArrayLike",
    r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]": r"NDArray[\1]",
    r"Annotated\[([^()]*?), (?:Between|Choice)\([^()]*\)\]": r"\1",
}
#: Letters that browsers draw by their own code points only.
VARIANT = re.compile(r'<m[in] mathvariant="(script|bold)">(\w)</(m[in])>')


def mathml(tex: str, display: str) -> str:
    """A formula as MathML. What cannot be converted is a warning, and so ends the build."""
    text = latex2mathml.converter.convert(tex, display=display)
    for command, sign in BARE.items():
        text = text.replace(command, sign)
    if "\\" in text:
        LOG.warning("no MathML for %r", tex)
    return VARIANT.sub(_own_letter, text)


def _own_letter(match: re.Match[str]) -> str:
    variant, letter, tag = match.groups()
    kind = "digit" if letter.isdigit() else "capital" if letter.isupper() else "small"
    names = {"0": "zero", "1": "one"}
    name = f"mathematical {variant} {kind} {names.get(letter, letter)}"
    return f"<{tag}>{lookup(name.upper())}</{tag}>"


def visit_math(writer: object, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(writer: object, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


class Formula(SphinxDirective):
    """A function with the formula of its docstring, and below it the lines that compute it.

    They are its own, or those of the function ``code`` that it hands over to.
    """

    required_arguments = 1
    option_spec: ClassVar = {"code": str}

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        module, _, name = self.options.get("code", path).rpartition(".")
        function = inspect.unwrap(getattr(import_module(module), name))
        source = inspect.getsource(function)
        body = textwrap.dedent(source.split('"""', 2)[2] if function.__doc__ else source).strip()
        parsed = self.parse_text_to_nodes(f".. autofunction:: {path}\n   :no-index:\n")
        return [*parsed, nodes.literal_block(body, body, language="python")]


class Rows(SphinxDirective):
    """A table of a dictionary of named tuples: the name, and the fields that ``fields`` names."""

    required_arguments = 1
    option_spec: ClassVar = {"fields": str.split}

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        fields = self.options["fields"]
        rows = [["name", *fields]]
        for key, row in getattr(import_module(module), name).items():
            rows.append(
                [f"``{key}``", *(getattr(row, field).replace("|", r"\|") for field in fields)]
            )
        lines = [
            f"{'* -' if not i else '  -'} {cell}" for row in rows for i, cell in enumerate(row)
        ]
        text = ".. list-table::\n   :header-rows: 1\n\n" + textwrap.indent("\n".join(lines), "   ")
        return self.parse_text_to_nodes(text)


def shorten(app: Sphinx, *event: object) -> tuple[str | None, ...]:
    """Signatures with types as the source has them, without the limits of options."""
    texts = list(event[-2:])
    for long, short in TYPES.items():
        texts = [text and re.sub(long, short, text) for text in texts]
    return tuple(texts)


def skip_fields(
    app: Sphinx, kind: str, name: str, member: object, skip: bool, options: object
) -> bool:
    """Fields of a named tuple: the class's own text says what they are."""
    return skip or type(member).__name__ == "_tuplegetter"


def link_modules(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Leads links to modules to their pages of the reference, where they have one."""
    modules = app.env.domains.python_domain.modules
    for node in list(doctree.findall(addnodes.download_reference)):
        path = Path(app.env.relfn2path(node["reftarget"], docname)[1]).resolve()
        if not path.is_relative_to(ROOT) or path.suffix != ".py":
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name in modules:
            page = app.builder.get_relative_uri(docname, modules[name].docname)
            reference = nodes.reference(refuri=f"{page}#{modules[name].node_id}", internal=True)
            reference += node.children
            node.replace_self(reference)


def without_dead_links(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Takes out what viewcode links to in vain: names that stand on a page without a place of their own, or
    under another module than their source, and a page of Python's built-in module.
    """
    if page.startswith("_modules/"):
        dead = r'<a class="viewcode-back".*?</a>|<li><a href="builtins.html">builtins</a></li>'
        context["body"] = re.sub(dead, "", context["body"])


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_directive("formula", Formula)
    app.add_directive("rows", Rows)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("html-page-context", without_dead_links)
    app.connect("doctree-resolved", link_modules)
