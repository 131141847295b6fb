import { layout, scale, short, ticks, treemap } from "./chart.js";

const root = document.getElementById("explorer");
const canvas = document.getElementById("canvas");
if (canvas) begin();

function begin() {
    const at = (id) => document.getElementById(id);
    const side = at("side"), status = at("status"), trail = at("trail"), tip = at("tip");
    const margin = { left: 56, right: 12, top: 10, bottom: 30 };
    const RESOLUTION = 64, AXES = 8, PLACES = 300;
    let view = null;      // {x0, x1, y0, y1} of the map; null: everything
    let grid = null;      // the last answer of the map
    let places = null;    // the last answer place by place, with its boxes
    let prefix = "", page = "";
    let marked = [];      // what the last search has found
    let chosen = null;    // id of the memory at the side
    let asked = 0, timer = 0;

    for (const [select, initial] of [[at("across"), 0], [at("up"), 1]]) {
        for (let axis = 0; axis < AXES; axis++) select.add(new Option(`number ${axis + 1}`, axis, false, axis === initial));
    }
    at("up").add(new Option("(one axis only)", ""));

    const mode = () => at("view").value;
    const axes = () => at("up").value === "" || at("up").value === at("across").value ? [at("across").value] : [at("across").value, at("up").value];

    async function ask(which, parameters) {
        const query = new URLSearchParams({ tenant: root.dataset.tenant, namespace: root.dataset.namespace, ...parameters });
        const response = await fetch(`${root.dataset[which]}?${query}`, { headers: { Accept: "application/json" } });
        if (response.redirected) { location.reload(); throw new Error("signed out"); }
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.detail || response.statusText);
        return answer;
    }

    function box() {
        const number = (value) => String(Math.max(-1.7e308, Math.min(1.7e308, value)));
        const corner = (x, y) => axes().length === 2 ? `${number(x)},${number(y)}` : number(x);
        return `${corner(view.x0, view.y0)};${corner(view.x1, view.y1)}`;
    }

    async function load() {
        const turn = ++asked;
        root.dataset.ready = "false";
        try {
            if (mode() === "places") {
                const answer = await ask("map", { depth: 1, limit: PLACES, ...(prefix && { prefix }), ...(page && { cursor: page }) });
                if (turn !== asked) return;
                places = answer;
            } else {
                const answer = await ask("map", { axes: axes().join(","), resolution: RESOLUTION, ...(view && { box: box() }) });
                if (turn !== asked) return;
                if (!answer.low.length && answer.elsewhere && axes().length === 2) { at("up").value = ""; return load(); }
                grid = answer;
                if (!view && answer.low.length) view = around(answer);
            }
        } catch (error) {
            if (turn === asked) status.textContent = error.message;
            return;
        }
        draw();
        tell();
        root.dataset.ready = "true";
    }

    const soon = () => { root.dataset.ready = "false"; clearTimeout(timer); draw(); timer = setTimeout(load, 150); };

    function around(answer) {
        const pad = (low, high) => { const more = (high - low) * 0.03 || Math.abs(low) * 0.05 || 1; return [low - more, high + more]; };
        const [x0, x1] = pad(answer.low[0], answer.high[0]);
        const [y0, y1] = answer.low.length > 1 ? pad(answer.low[1], answer.high[1]) : [0, 1];
        return { x0, x1, y0, y1 };
    }

    // --- Drawing -------------------------------------------------------------------------------------------------

    const width = () => canvas.clientWidth, height = () => canvas.clientHeight;
    const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
    const scales = () => [scale(view.x0, view.x1, margin.left, width() - margin.right), scale(view.y0, view.y1, height() - margin.bottom, margin.top)];

    // The more, the darker (by the logarithm); the more important, the redder.
    function colour(count, most, importance) {
        const dark = document.documentElement.classList.contains("dark");
        const share = most > 1 ? Math.log(count) / Math.log(most) : 1;
        const light = dark ? 26 + share * 42 : 88 - share * 54;
        return `hsl(${172 - Math.min(1, importance / 10) * 172} ${45 + share * 20}% ${light}%)`;
    }

    function draw() {
        const ratio = window.devicePixelRatio || 1;
        canvas.width = width() * ratio;
        canvas.height = height() * ratio;
        const pen = canvas.getContext("2d");
        pen.scale(ratio, ratio);
        pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
        if (mode() === "places") return drawPlaces(pen);
        if (!view || !grid) return;
        drawAxes(pen);
        pen.save();
        pen.beginPath();
        pen.rect(margin.left, margin.top, width() - margin.left - margin.right, height() - margin.top - margin.bottom);
        pen.clip();
        if (grid.memories) drawSingle(pen); else drawCells(pen);
        drawMarked(pen);
        pen.restore();
    }

    function drawAxes(pen) {
        const [x, y] = scales();
        pen.strokeStyle = style("--line");
        pen.fillStyle = style("--faint");
        pen.textAlign = "center";
        for (const value of ticks(view.x0, view.x1, 8)) {
            line(pen, x(value), margin.top, x(value), height() - margin.bottom);
            pen.fillText(short(value), x(value), height() - 10);
        }
        pen.textAlign = "right";
        if (grid.axes.length < 2) return;
        for (const value of ticks(view.y0, view.y1, 8)) {
            line(pen, margin.left, y(value), width() - margin.right, y(value));
            pen.fillText(short(value), margin.left - 6, y(value) + 4);
        }
    }

    function line(pen, x0, y0, x1, y1) {
        pen.beginPath();
        pen.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
        pen.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
        pen.stroke();
    }

    // The region of a cell: [x0, y0, x1, y1] in the numbers of the axes.
    function regionOf(cell) {
        const part = (axis, n) => grid.low[axis] * (1 - n / grid.resolution) + grid.high[axis] * (n / grid.resolution);
        if (grid.axes.length === 1) return [part(0, cell.column), 0, part(0, cell.column + 1), 1];
        return [part(0, cell.column), part(1, cell.row), part(0, cell.column + 1), part(1, cell.row + 1)];
    }

    function drawCells(pen) {
        const [x, y] = scales(), most = Math.max(1, ...grid.cells.map((cell) => cell.count));
        for (const cell of grid.cells) {
            const [x0, y0, x1, y1] = regionOf(cell);
            pen.fillStyle = colour(cell.count, most, cell.importance);
            if (grid.axes.length === 1) {
                const share = most > 1 ? 0.05 + 0.9 * Math.log(cell.count) / Math.log(most) : 1;
                const top = height() - margin.bottom - share * (height() - margin.top - margin.bottom);
                pen.fillRect(x(x0), top, Math.max(1.5, x(x1) - x(x0) - 1), height() - margin.bottom - top);
            } else {
                pen.fillRect(x(x0), y(y1), Math.max(2, x(x1) - x(x0) - 1), Math.max(2, y(y0) - y(y1) - 1));
            }
        }
    }

    const yOf = (coordinate) => grid.axes.length === 1 ? 0.5 : coordinate[grid.axes[1]];

    function drawSingle(pen) {
        const [x, y] = scales(), few = grid.memories.length <= 40;
        for (const each of grid.memories) {
            const px = x(each.coordinate[grid.axes[0]]), py = y(yOf(each.coordinate));
            dot(pen, px, py, 4 + each.importance * 0.6, `hsl(${172 - (each.importance / 10) * 172} 60% 42%)`, each.id === chosen);
            if (few) {
                pen.fillStyle = style("--strong");
                pen.textAlign = "left";
                pen.fillText(each.text.length > 32 ? each.text.slice(0, 31) + "…" : each.text, px + 10, py + 4);
            }
        }
    }

    function drawMarked(pen) {
        const [x, y] = scales();
        pen.strokeStyle = "#d97706";
        pen.lineWidth = 2.5;
        for (const each of marked) {
            if (each.coordinate.length <= Math.max(...grid.axes)) continue;
            pen.beginPath();
            pen.arc(x(each.coordinate[grid.axes[0]]), y(yOf(each.coordinate)), 8, 0, 7);
            pen.stroke();
        }
        pen.lineWidth = 1;
    }

    function dot(pen, x, y, radius, fill, ring) {
        pen.beginPath();
        pen.arc(x, y, radius, 0, 7);
        pen.fillStyle = fill;
        pen.fill();
        if (!ring) return;
        pen.strokeStyle = style("--strong");
        pen.lineWidth = 2;
        pen.stroke();
        pen.lineWidth = 1;
    }

    function drawPlaces(pen) {
        if (!places) return;
        const most = Math.max(1, ...places.cells.map((cell) => cell.count));
        places.boxes = treemap(places.cells.map((cell) => cell.count), width(), height());
        pen.textAlign = "left";
        places.cells.forEach((cell, n) => {
            const [x, y, wide, high] = places.boxes[n];
            pen.fillStyle = colour(cell.count, most, cell.importance);
            pen.fillRect(x, y, Math.max(1, wide - 2), Math.max(1, high - 2));
            if (wide < 46 || high < 20) return;
            pen.fillStyle = most > 1 && Math.log(cell.count) / Math.log(most) > 0.45 ? "#fff" : "#123";
            pen.save();
            pen.beginPath(); pen.rect(x, y, wide - 4, high - 2); pen.clip();
            pen.fillText(short(cell.coordinate.at(-1)), x + 6, y + 15);
            if (high > 36) pen.fillText(cell.count.toLocaleString("en"), x + 6, y + 31);
            pen.restore();
        });
    }

    // --- Words beside the drawing ----------------------------------------------------------------------------------

    function tell() {
        const many = (number, word) => `${number.toLocaleString("en")} ${word}`;
        if (mode() === "places") {
            const all = places.cells.reduce((sum, cell) => sum + cell.count, 0);
            status.textContent = `${many(all, "memories")} at ${places.next_cursor || page ? "these " : ""}${places.cells.length} places`;
        } else {
            const missing = grid.elsewhere ? `; ${many(grid.elsewhere, "have no number on these axes")}` : "";
            status.textContent = many(grid.total, "memories here") + (grid.memories ? "" : ` in ${many(grid.cells.length, "cells")}`) + missing;
            root.dataset.total = grid.total;
        }
        trail.replaceChildren();
        if (mode() !== "places") return;
        crumb(root.dataset.namespace, "");
        const numbers = prefix ? prefix.split(",") : [];
        numbers.forEach((number, n) => { trail.append(" / "); crumb(number, numbers.slice(0, n + 1).join(",")); });
        const next = places.next_cursor;
        if (next) status.append(" ", element("button", { type: "button", className: "explorer-link", textContent: "more places →", onclick: () => { page = next; load(); } }));
    }

    function crumb(text, to) {
        trail.append(element("button", { type: "button", textContent: text, onclick: () => { prefix = to; page = ""; load(); } }));
    }

    function element(name, properties = {}, ...children) {
        const made = Object.assign(document.createElement(name), properties);
        made.append(...children);
        return made;
    }

    async function show(id) {
        chosen = id;
        draw();
        try {
            const answer = await ask("memory", { id });
            if (chosen === id) sideOf(answer);
        } catch (error) {
            side.replaceChildren(element("p", { textContent: error.message }));
        }
    }

    function sideOf({ memory, link, network }) {
        const facts = element("dl");
        const fact = (name, value) => facts.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
        fact("Type", memory.memory_type);
        fact("Importance", memory.importance);
        fact("Version", memory.version);
        fact("Index", memory.index_state);
        fact("Changed", memory.updated_at.slice(0, 19).replace("T", " "));
        side.replaceChildren(
            element("h2", {}, element("a", { href: link, className: "console-coord", textContent: memory.coord })),
            element("pre", { className: "console-json", textContent: JSON.stringify(memory.payload, null, 2).slice(0, 20000) }),
            element("div", { className: "console-facts" }, facts),
        );
        if (network) side.append(networkOf(network));
        side.dataset.memory = memory.id;
    }

    // --- The network around a memory -------------------------------------------------------------------------------

    function networkOf({ nodes, links, truncated }) {
        const part = element("div", { className: "explorer-network" }, element("h2", { textContent: "Links" }));
        if (nodes.length < 2) { part.append(element("p", { className: "console-note", textContent: "It is linked to nothing." })); return part; }
        const W = 360, H = 300, svg = svgElement("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
        const where = layout(nodes, links, W, H), index = new Map(nodes.map((node, n) => [node.coord, n]));
        for (const each of links) {
            const [x1, y1] = where[index.get(each.from)], [x2, y2] = where[index.get(each.to)];
            const drawn = svgElement("line", { x1, y1, x2, y2, class: "link", "stroke-width": 0.6 + each.strength * 1.8 });
            drawn.append(svgElement("title", {}, `${each.from} → ${each.to}: ${each.link_type}, ${each.strength}`));
            svg.append(drawn);
        }
        nodes.forEach((node, n) => {
            const [x, y] = where[n];
            const made = svgElement("g", { class: node.id ? "node" : "node nothing", transform: `translate(${x} ${y})` });
            made.append(svgElement("circle", { r: n ? 7 - (node.hops || 1) : 9, class: n ? "" : "self" }));
            const left = x > W * 0.6;
            if (nodes.length <= 10 || node.hops < 2) made.append(svgElement("text", { x: left ? -10 : 10, y: n ? 4 : -12, "text-anchor": left ? "end" : "start" }, node.coord));
            made.append(svgElement("title", {}, `${node.coord}\n${node.text || "nothing is stored here"}`));
            if (node.id && n) made.addEventListener("click", () => show(node.id));
            svg.append(made);
        });
        part.append(svg);
        if (truncated) part.append(element("p", { className: "console-note", textContent: "There are more links than are drawn." }));
        return part;
    }

    function svgElement(name, attributes, text) {
        const made = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
        if (text) made.textContent = text;
        return made;
    }

    // --- Search ----------------------------------------------------------------------------------------------------

    at("search").addEventListener("submit", async (event) => {
        event.preventDefault();
        const words = event.target.q.value.trim();
        if (!words) { marked = []; draw(); return; }
        try {
            const answer = await ask("search", { q: words });
            marked = answer.memories;
            draw();
            hits(answer);
        } catch (error) {
            side.replaceChildren(element("p", { textContent: error.message }));
        }
    });

    function hits(answer) {
        const list = element("ol", { className: "explorer-hits" });
        for (const each of answer.memories) {
            const scores = element("span", { className: "explorer-scores" });
            for (const [name, value] of Object.entries(each.scores || {})) {
                if (typeof value !== "number") continue;
                const bar = element("i");
                bar.style.width = `${Math.max(0, Math.min(1, value)) * 60}px`;
                scores.append(element("span", {}, `${name} ${value.toFixed(2)}`, bar));
            }
            const text = Object.values(each.payload).find((value) => typeof value === "string") || JSON.stringify(each.payload);
            const hit = element("button", { type: "button", onclick: () => go(each) },
                element("b", { textContent: each.score.toFixed(3) }), " ", element("span", { className: "console-coord", textContent: each.coord }),
                element("p", { textContent: text.slice(0, 160) }), scores);
            list.append(element("li", {}, hit));
        }
        const missing = answer.degraded.length ? ` (without: ${answer.degraded.join(", ")})` : "";
        side.replaceChildren(element("h2", { textContent: `${answer.memories.length} found in ${answer.took_ms} ms${missing}` }), list);
        side.dataset.hits = answer.memories.length;
    }

    function go(memory) {
        if (mode() === "map" && view && grid && memory.coordinate.length > Math.max(...grid.axes)) {
            const x = memory.coordinate[grid.axes[0]], y = yOf(memory.coordinate);
            const inside = x >= view.x0 && x <= view.x1 && y >= view.y0 && y <= view.y1;
            if (!inside) { move(x - (view.x0 + view.x1) / 2, grid.axes.length > 1 ? y - (view.y0 + view.y1) / 2 : 0); soon(); }
        }
        show(memory.id);
    }

    // --- Moving ----------------------------------------------------------------------------------------------------

    function move(dx, dy) { view = { x0: view.x0 + dx, x1: view.x1 + dx, y0: view.y0 + dy, y1: view.y1 + dy }; }

    function zoom(factor, x, y) {
        if (!view || mode() === "places") return;
        const keep = (low, high, fixed) => [fixed - (fixed - low) * factor, fixed + (high - fixed) * factor];
        const [x0, x1] = keep(view.x0, view.x1, x ?? (view.x0 + view.x1) / 2);
        const [y0, y1] = grid.axes.length > 1 ? keep(view.y0, view.y1, y ?? (view.y0 + view.y1) / 2) : [0, 1];
        if (x1 - x0 < Math.abs(x0) * 1e-12 || !Number.isFinite(x1 - x0)) return;
        view = { x0, x1, y0, y1 };
        soon();
    }

    const numbersAt = (event) => {
        const back = (pixel, low, high, from, to) => from + ((pixel - low) / (high - low)) * (to - from);
        return [
            back(event.offsetX, margin.left, width() - margin.right, view.x0, view.x1),
            back(event.offsetY, height() - margin.bottom, margin.top, view.y0, view.y1),
        ];
    };

    canvas.addEventListener("wheel", (event) => {
        if (mode() === "places" || !view) return;
        event.preventDefault();
        zoom(event.deltaY > 0 ? 1.25 : 0.8, ...numbersAt(event));
    }, { passive: false });

    let held = null;
    canvas.addEventListener("pointerdown", (event) => { held = { x: event.offsetX, y: event.offsetY, moved: false }; });
    window.addEventListener("pointerup", () => { setTimeout(() => { held = null; }, 0); });
    canvas.addEventListener("pointermove", (event) => {
        if (held && mode() === "map" && view && (held.moved || Math.hypot(event.offsetX - held.x, event.offsetY - held.y) > 4)) {
            const dx = ((held.x - event.offsetX) / (width() - margin.left - margin.right)) * (view.x1 - view.x0);
            const dy = ((event.offsetY - held.y) / (height() - margin.top - margin.bottom)) * (view.y1 - view.y0);
            move(dx, grid.axes.length > 1 ? dy : 0);
            held = { x: event.offsetX, y: event.offsetY, moved: true };
            tip.hidden = true;
            soon();
            return;
        }
        hint(event, under(event));
    });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("click", (event) => {
        if (held?.moved) return;
        const found = under(event);
        if (!found) return;
        if (found.memory) show(found.memory.id);
        else if (found.cell.coord) { prefix = found.cell.coord; page = ""; load().then(alone); }
        else {
            const [x0, y0, x1, y1] = regionOf(found.cell), wide = (x1 - x0) * 3, high = (y1 - y0) * 3;
            view = { x0: x0 - wide, x1: x1 + wide, y0: grid.axes.length > 1 ? y0 - high : 0, y1: grid.axes.length > 1 ? y1 + high : 1 };
            soon();
        }
    });
    canvas.addEventListener("keydown", (event) => {
        if (!view || mode() === "places") return;
        const x = (view.x1 - view.x0) / 8, y = grid.axes.length > 1 ? (view.y1 - view.y0) / 8 : 0;
        const steps = { ArrowLeft: [-x, 0], ArrowRight: [x, 0], ArrowUp: [0, y], ArrowDown: [0, -y] };
        if (steps[event.key]) { move(...steps[event.key]); soon(); }
        else if (event.key === "+") zoom(0.7);
        else if (event.key === "-") zoom(1.4);
        else return;
        event.preventDefault();
    });

    // Where nothing lies below any more, the memory itself is shown.
    async function alone() {
        if (places.cells.length) return;
        const [x] = prefix.split(",");
        const all = prefix.split(",").map(Number);
        const answer = await ask("map", { axes: "0", box: `${x};${x}`, prefix, resolution: 1 });
        const one = (answer.memories || []).find((each) => each.coordinate.length === all.length);
        if (one) show(one.id);
    }

    function under(event) {
        if (mode() === "places") {
            if (!places?.boxes) return null;
            const n = places.boxes.findIndex(([x, y, wide, high]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + high);
            return n < 0 ? null : { cell: places.cells[n] };
        }
        if (!view || !grid) return null;
        const [x, y] = scales();
        if (grid.memories) {
            const far = (each) => Math.hypot(x(each.coordinate[grid.axes[0]]) - event.offsetX, y(yOf(each.coordinate)) - event.offsetY);
            const memory = grid.memories.reduce((best, each) => !best || far(each) < far(best) ? each : best, null);
            return memory && far(memory) < 14 ? { memory } : null;
        }
        const [nx, ny] = numbersAt(event);
        const cell = grid.cells.find((each) => {
            const [x0, y0, x1, y1] = regionOf(each);
            return nx >= x0 && nx <= x1 && (grid.axes.length === 1 || (ny >= y0 && ny <= y1));
        });
        return cell ? { cell } : null;
    }

    function hint(event, found) {
        tip.hidden = !found;
        canvas.style.cursor = found ? "pointer" : "default";
        if (!found) return;
        tip.textContent = found.memory
            ? `${found.memory.coord}\n${found.memory.text}`
            : `${found.cell.coord ? found.cell.coord + "\n" : ""}${found.cell.count.toLocaleString("en")} memories\nimportance ${found.cell.importance.toFixed(1)}, at most ${found.cell.max_importance.toFixed(1)}`;
        tip.style.left = `${Math.min(event.offsetX + 14, width() - 240)}px`;
        tip.style.top = `${event.offsetY + 14}px`;
    }

    at("closer").onclick = () => zoom(0.6);
    at("farther").onclick = () => zoom(1.6);
    at("whole").onclick = () => { view = null; prefix = page = ""; load(); };
    at("across").onchange = at("up").onchange = () => { view = null; load(); };
    at("view").onchange = () => {
        for (const each of document.querySelectorAll("[data-only=map]")) each.hidden = mode() === "places";
        load();
    };
    new ResizeObserver(() => draw()).observe(canvas);
    new MutationObserver(() => draw()).observe(document.documentElement, { attributeFilter: ["class"] });

    const start = root.dataset.at.split(",").map(Number);
    if (root.dataset.at && start.every(Number.isFinite)) {
        if (start.length === 1) at("up").value = "";
        const around = (number) => [number - Math.max(1, Math.abs(number) * 0.05), number + Math.max(1, Math.abs(number) * 0.05)];
        const [x0, x1] = around(start[0]), [y0, y1] = start.length > 1 ? around(start[1]) : [0, 1];
        view = { x0, x1, y0, y1 };
        load().then(() => {
            const one = (grid?.memories || []).find((each) => each.coord === root.dataset.at);
            if (one) show(one.id);
        });
    } else load();
}
