// Elements of the explorer's side panel, and the network of links around a memory.
import { layout } from "./chart.js";

const WIDTH = 360, HEIGHT = 300;

export function element(name, properties = {}, ...children) {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
}

function svgElement(name, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
}

// `onSelect` is called with the id of a memory that is clicked.
export function networkElement({ nodes, links, truncated }, onSelect) {
    const part = element("div", { className: "explorer-network" }, element("h2", { textContent: "Links" }));
    const note = (text) => part.append(element("p", { className: "console-note", textContent: text }));
    if (nodes.length < 2) { note("This memory has no links."); return part; }
    const svg = svgElement("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Links around the memory" });
    const positions = layout(nodes, links, WIDTH, HEIGHT), index = new Map(nodes.map((node, n) => [node.coord, n]));
    for (const link of links) svg.append(linkElement(link, positions[index.get(link.from)], positions[index.get(link.to)]));
    nodes.forEach((node, n) => svg.append(nodeElement(node, n, positions[n], nodes.length <= 10, onSelect)));
    part.append(svg);
    if (truncated) note("Only some of the links are shown.");
    return part;
}

function linkElement(link, [x1, y1], [x2, y2]) {
    const line = svgElement("line", { x1, y1, x2, y2, class: "link", "stroke-width": 0.6 + link.strength * 1.8 });
    line.append(svgElement("title", {}, `${link.from} → ${link.to}: ${link.link_type}, ${link.strength}`));
    return line;
}

// The first node is the memory itself.
function nodeElement(node, n, [x, y], labelled, onSelect) {
    const group = svgElement("g", { class: node.id ? "node" : "node nothing", transform: `translate(${x} ${y})` });
    group.append(svgElement("circle", { r: n ? 7 - (node.hops || 1) : 9, class: n ? "" : "self" }));
    const left = x > WIDTH * 0.6;
    if (labelled || node.hops < 2) group.append(svgElement("text", { x: left ? -10 : 10, y: n ? 4 : -12, "text-anchor": left ? "end" : "start" }, node.coord));
    group.append(svgElement("title", {}, `${node.coord}\n${node.text || "no memory here"}`));
    if (node.id && n) group.addEventListener("click", () => onSelect(node.id));
    return group;
}
