"""Export links as a JSON or GraphML file, in chunks, with at most one page of links in memory."""

from __future__ import annotations

import io
import json as json_text
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

import orjson

from graph.models import Link
from graph.selectors import Subgraph
from somamemory.times import rfc3339_or_none

PIECE = 500  # links per chunk
_NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
# The fields of an edge in GraphML, with their types.
_DATA = {
    "link_type": "string",
    "strength": "double",
    "metadata": "string",  # JSON
    "valid_from": "string",  # RFC 3339
    "valid_to": "string",
}


def json(graph: Subgraph) -> Iterator[bytes]:
    """Yield `{"links": [...]}`, with each link in the form that `POST /graph/links/bulk` accepts."""
    yield b'{"links":['
    between = b""
    for links in _pieces(graph.links()):
        yield between + b",".join(orjson.dumps(fields(link)) for link in links)
        between = b","
    yield b"]}"


def graphml(graph: Subgraph) -> Iterator[bytes]:
    """Yield GraphML (http://graphml.graphdrawing.org/specification.html) with addresses as nodes and links as edges.

    Metadata is written as ASCII JSON, because XML does not allow control characters.
    """
    buffer = io.StringIO()
    xml = XMLGenerator(buffer, encoding="utf-8", short_empty_elements=True)
    xml.startDocument()
    xml.startElement("graphml", AttributesImpl({"xmlns": _NAMESPACE}))
    for name, kind in _DATA.items():
        _element(xml, "key", {"id": name, "for": "edge", "attr.name": name, "attr.type": kind})
    xml.startElement("graph", AttributesImpl({"edgedefault": "directed"}))
    for addresses in _pieces(graph.addresses()):
        for address in addresses:
            _element(xml, "node", {"id": address.text})
        yield _taken(buffer)
    for links in _pieces(enumerate(graph.links(), start=1)):
        for number, link in links:
            _edge(xml, number, link)
        yield _taken(buffer)
    xml.endElement("graph")
    xml.endElement("graphml")
    xml.endDocument()
    yield _taken(buffer)


def fields(link: Link) -> dict[str, Any]:
    return {
        "from_coord": link.start.text,
        "to_coord": link.end.text,
        "link_type": link.link_type,
        "strength": link.strength,
        "metadata": link.metadata,
        "namespace": link.namespace,
        "valid_from": rfc3339_or_none(link.valid_from),
        "valid_to": rfc3339_or_none(link.valid_to),
    }


def _edge(xml: XMLGenerator, number: int, link: Link) -> None:
    values = fields(link)
    values["metadata"] = json_text.dumps(link.metadata)
    # The id distinguishes parallel links. Edges are numbered per export, because the database's own ids would reveal
    # how many links other tenants have.
    ends = {"id": f"e{number}", "source": values["from_coord"], "target": values["to_coord"]}
    xml.startElement("edge", AttributesImpl(ends))
    for name in _DATA:
        if values[name] is not None:
            _element(xml, "data", {"key": name}, str(values[name]))
    xml.endElement("edge")


def _element(xml: XMLGenerator, name: str, attributes: dict[str, str], text: str = "") -> None:
    xml.startElement(name, AttributesImpl(attributes))
    xml.characters(text)
    xml.endElement(name)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _pieces(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while piece := list(islice(rows, PIECE)):
        yield piece
