"""Reading the XML of requests: small, flat documents from anyone, so nothing clever is allowed in them."""

from typing import NoReturn
from xml.etree.ElementTree import Element
from xml.parsers import expat

from hosu.kernel.limits import MIB
from hosu.server.s3.request_errors import S3RequestError

XML_BYTES_MAX = 8 * MIB
"""A delete of 1,000 keys of 1,024 bytes, each character escaped, stays below."""

DEPTH_MAX = 16
"""No S3 document nests deeper than 8."""

ELEMENTS_MAX = 50_000
"""A completion of 10,000 parts with three fields each stays below."""

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Marks that make expat read UTF-16 whatever encoding it is told."""

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER_DIGITS_MAX = 18


def parse(body: bytes | bytearray | memoryview, root: str) -> Element:
    """Return the root element of body, whose name must be `root`; names are without their namespace.

    Raises S3RequestError MalformedXML for anything but a plain UTF-8 document within the limits above:
    no document type, entities or processing instructions.
    """
    if len(body) > XML_BYTES_MAX:
        refuse(f"it is longer than {XML_BYTES_MAX} bytes")
    document = bytes(body)
    if document.startswith(_UTF_16_MARKS):
        refuse("it is not UTF-8")
    reader = _Reader()
    try:
        reader.parser.Parse(document, True)  # noqa: FBT003 - expat's own signature
    except expat.ExpatError as problem:
        refuse(expat.errors.messages.get(problem.code, "it is not well-formed"))
    element = reader.root
    if element is None or element.tag != root:
        refuse(f"its root must be {root}")
    return element


def text(parent: Element, name: str) -> str | None:
    """Return the text of the child called name, stripped; None without such a child."""
    child = parent.find(name)
    return None if child is None else (child.text or "").strip()


def required_text(parent: Element, name: str) -> str:
    """Return the text of the child called name, which must be there and not empty."""
    value = text(parent, name)
    if not value:
        refuse(f"{parent.tag} needs {name}")
    return value


def boolean(parent: Element, name: str, *, default: bool = False) -> bool:
    """Return the child called name as true or false, `default` without such a child."""
    value = text(parent, name)
    if value is None:
        return default
    if value.lower() not in _BOOLEANS:
        refuse(f"{name} must be true or false")
    return _BOOLEANS[value.lower()]


def integer(parent: Element, name: str) -> int | None:
    """Return the child called name as a whole number, None without such a child."""
    value = text(parent, name)
    if value is None:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _INTEGER_DIGITS_MAX:
        refuse(f"{name} must be a whole number")
    return int(value)


def refuse(why: str) -> NoReturn:
    """Raise MalformedXML, as S3 words it, with the reason."""
    raise S3RequestError(
        "MalformedXML",
        f"The XML you provided was not well-formed or did not validate against our published schema: {why}",
    )


class _Reader:
    """Builds elements from expat's events and stops at the first thing S3 documents never have."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._text: list[str] = []
        self._elements = 0
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse_declaration
        parser.EntityDeclHandler = self._refuse_declaration
        parser.ProcessingInstructionHandler = self._refuse_declaration
        self.parser = parser

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            refuse(f"it has more than {ELEMENTS_MAX} elements or {DEPTH_MAX} levels")
        element = Element(
            tag.rpartition(":")[2], {name.rpartition(":")[2]: value for name, value in attributes.items()}
        )
        if self._open:
            self._open[-1].append(element)
        else:
            self.root = element
        self._open.append(element)
        self._text.clear()

    def _end(self, _tag: str) -> None:
        element = self._open.pop()
        if not len(element):
            element.text = "".join(self._text)
        self._text.clear()

    def _refuse_declaration(self, *_what: object) -> None:
        refuse("document types, entities and processing instructions are not accepted")
