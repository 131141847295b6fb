// The explorer: loads cells and memories, and handles search, zoom, keyboard and mouse.
import { cellSize } from "./chart.js";
import { createDrawing, margin } from "./explorer_drawing.js";
import { element, networkElement } from "./explorer_network.js";

const root = document.getElementById("explorer");
const canvas = document.getElementById("canvas");
if (canvas) begin();

function begin() {
    const at = (id) => document.getElementById(id);
    const side = at("side"), status = at("status"), trail = at("trail"), tip = at("tip");
    const RESOLUTION = 64, AXES = 8, PLACES = 300;
    const state = {
        view: null,      // {x0, x1, y0, y1} of the map; null: everything
        grid: null,      // the last response from the map
        places: null,    // the last response with places, and the boxes drawn for them
        marked: [],      // the hits of the last search
        chosen: null,    // id of the memory in the side panel
        links: [],       // around that memory
    };
    let prefix = "", page = "";
    let requests = 0, timer = 0;

    for (const [select, initial] of [[at("across"), 0], [at("up"), 1]]) {
        for (let axis = 0; axis < AXES; axis++) select.add(new Option(`axis ${axis + 1}`, axis, false, axis === initial));
    }
    at("up").add(new Option("(one axis only)", ""));

    const mode = () => at("view").value;
    const { draw, height, regionOf, scales, width, yOf } = createDrawing(root, canvas, state, mode);
    const axes = () => at("up").value === "" || at("up").value === at("across").value ? [at("across").value] : [at("across").value, at("up").value];

    async function ask(endpoint, parameters) {
        const query = new URLSearchParams({ tenant: root.dataset.tenant, namespace: root.dataset.namespace, ...parameters });
        const response = await fetch(`${root.dataset[endpoint]}?${query}`, { headers: { Accept: "application/json" } });
        if (response.redirected) { location.reload(); throw new Error("signed out"); }
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.detail || response.statusText);
        return answer;
    }

    // Returns a box around the view that is aligned to whole numbers, and its number of cells along each axis.
    function aligned() {
        const number = (value) => String(Math.max(-1.7e308, Math.min(1.7e308, value)));
        const sides = [[state.view.x0, state.view.x1], [state.view.y0, state.view.y1]].slice(0, axes().length);
        const sizes = sides.map(([low, high]) => cellSize(high - low, RESOLUTION - 1) ?? (high - low) / RESOLUTION);
        // Half a unit lower, because a whole number at the edge of a cell could be counted on either side of it.
        const lows = sides.map(([low], n) => Math.floor(low / sizes[n]) * sizes[n] - Math.min(1, sizes[n]) / 2);
        const resolution = Math.min(RESOLUTION, Math.max(1, ...sides.map(([, high], n) => Math.ceil((high - lows[n]) / sizes[n]))));
        const highs = lows.map((low, n) => low + resolution * sizes[n]);
        return { box: [lows, highs].map((corner) => corner.map(number).join(",")).join(";"), resolution };
    }

    async function load() {
        const request = ++requests;
        root.dataset.ready = "false";
        try {
            if (mode() === "places") {
                const answer = await ask("map", { depth: 1, limit: PLACES, ...(prefix && { prefix }), ...(page && { cursor: page }) });
                if (request !== requests) return;
                state.places = answer;
            } else {
                const answer = await ask("map", { axes: axes().join(","), resolution: RESOLUTION, ...(state.view && aligned()) });
                if (request !== requests) return;
                if (!answer.low.length && answer.elsewhere && axes().length === 2) { at("up").value = ""; return load(); }
                state.grid = answer;
                if (!state.view && answer.low.length) {
                    state.view = around(answer);
                    if (!answer.memories) { draw(); describe(); return load(); } // reload with one cell per whole number
                }
            }
        } catch (error) {
            if (request === requests) status.textContent = error.message;
            return;
        }
        tip.hidden = true; // what was under the pointer has moved
        draw();
        describe();
        root.dataset.ready = "true";
    }

    const soon = () => { root.dataset.ready = "false"; clearTimeout(timer); draw(); timer = setTimeout(load, 150); };

    function around(answer) {
        const pad = (low, high) => { const more = (high - low) * 0.03 || Math.abs(low) * 0.05 || 1; return [low - more, high + more]; };
        const [x0, x1] = pad(answer.low[0], answer.high[0]);
        const [y0, y1] = answer.low.length > 1 ? pad(answer.low[1], answer.high[1]) : [0, 1];
        return { x0, x1, y0, y1 };
    }

    // --- The text around the drawing -------------------------------------------------------------------------------

    function describe() {
        at("nothing").hidden = mode() === "places" ? state.places.cells.length || prefix : state.grid.total || state.grid.low.length;
        const many = (number, one, several) => `${number.toLocaleString("en")} ${number === 1 ? one : several}`;
        if (mode() === "places") {
            const all = state.places.cells.reduce((sum, cell) => sum + cell.count, 0);
            status.textContent = `${many(all, "memory", "memories")} at ${many(state.places.cells.length, "prefix", "prefixes")}${state.places.next_cursor || page ? " on this page" : ""}`;
        } else {
            const missing = state.grid.elsewhere ? `; ${many(state.grid.elsewhere, "has no value on these axes", "have no value on these axes")}` : "";
            status.textContent = many(state.grid.total, "memory here", "memories here") + (state.grid.memories ? "" : ` in ${many(state.grid.cells.length, "cell", "cells")}`) + missing;
            root.dataset.total = state.grid.total;
        }
        trail.replaceChildren();
        if (mode() !== "places") return;
        crumb(root.dataset.namespace, "");
        const numbers = prefix ? prefix.split(",") : [];
        numbers.forEach((number, n) => { trail.append(" / "); crumb(number, numbers.slice(0, n + 1).join(",")); });
        const next = state.places.next_cursor;
        if (next) status.append(" ", element("button", { type: "button", className: "explorer-link", textContent: "next prefixes →", onclick: () => { page = next; load(); } }));
    }

    function crumb(text, to) {
        trail.append(element("button", { type: "button", textContent: text, onclick: () => { prefix = to; page = ""; load(); } }));
    }

    async function show(id) {
        state.chosen = id;
        state.links = [];
        draw();
        try {
            const answer = await ask("memory", { id });
            if (state.chosen === id) showMemory(answer);
        } catch (error) {
            side.replaceChildren(element("p", { textContent: error.message }));
        }
    }

    function showMemory({ memory, link, network }) {
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
        if (network) side.append(networkElement(network, show));
        side.dataset.memory = memory.id;
        state.links = (network?.links ?? []).filter((edge) => [edge.from, edge.to].includes(memory.coord));
        draw();
    }

    // Lists the memories that the map draws at one point.
    function showStack(memories) {
        const list = element("ol", { className: "explorer-hits" });
        for (const memory of memories) {
            list.append(element("li", {}, element("button", { type: "button", onclick: () => show(memory.id) },
                element("span", { className: "console-coord", textContent: memory.coord }), element("p", { textContent: memory.text || "no text" }))));
        }
        side.replaceChildren(element("h2", { textContent: `${memories.length} memories at this point` }), list);
        side.dataset.stack = memories.length;
    }

    // --- Search ----------------------------------------------------------------------------------------------------

    at("search").addEventListener("submit", async (event) => {
        event.preventDefault();
        const words = event.target.q.value.trim();
        if (!words) { state.marked = []; draw(); return; }
        try {
            const answer = await ask("search", { q: words });
            state.marked = answer.memories;
            draw();
            hits(answer);
        } catch (error) {
            side.replaceChildren(element("p", { textContent: error.message }));
        }
    });

    function hits(answer) {
        const list = element("ol", { className: "explorer-hits" });
        for (const memory of answer.memories) {
            const scores = element("span", { className: "explorer-scores" });
            for (const [name, value] of Object.entries(memory.scores || {})) {
                if (typeof value !== "number") continue;
                const bar = element("i");
                bar.style.width = `${Math.max(0, Math.min(1, value)) * 60}px`;
                scores.append(element("span", {}, `${name} ${value.toFixed(2)}`, bar));
            }
            const text = Object.values(memory.payload).find((value) => typeof value === "string") || JSON.stringify(memory.payload);
            const hit = element("button", { type: "button", onclick: () => go(memory) },
                element("b", { textContent: memory.score.toFixed(3) }), " ", element("span", { className: "console-coord", textContent: memory.coord }),
                element("p", { textContent: text.slice(0, 160) }), scores);
            list.append(element("li", {}, hit));
        }
        const missing = answer.degraded.length ? ` (unavailable: ${answer.degraded.join(", ")})` : "";
        side.replaceChildren(element("h2", { textContent: `${answer.memories.length} results in ${answer.took_ms} ms${missing}` }), list);
        side.dataset.hits = answer.memories.length;
    }

    function go(memory) {
        if (mode() === "map" && state.view && state.grid && memory.coordinate.length > Math.max(...state.grid.axes)) {
            const x = memory.coordinate[state.grid.axes[0]], y = yOf(memory.coordinate);
            const inside = x >= state.view.x0 && x <= state.view.x1 && y >= state.view.y0 && y <= state.view.y1;
            if (!inside) { move(x - (state.view.x0 + state.view.x1) / 2, state.grid.axes.length > 1 ? y - (state.view.y0 + state.view.y1) / 2 : 0); soon(); }
        }
        show(memory.id);
    }

    // --- Moving ----------------------------------------------------------------------------------------------------

    function move(dx, dy) { state.view = { x0: state.view.x0 + dx, x1: state.view.x1 + dx, y0: state.view.y0 + dy, y1: state.view.y1 + dy }; }

    function zoom(factor, x, y) {
        if (!state.view || mode() === "places") return;
        const keep = (low, high, fixed) => [fixed - (fixed - low) * factor, fixed + (high - fixed) * factor];
        const [x0, x1] = keep(state.view.x0, state.view.x1, x ?? (state.view.x0 + state.view.x1) / 2);
        const [y0, y1] = state.grid.axes.length > 1 ? keep(state.view.y0, state.view.y1, y ?? (state.view.y0 + state.view.y1) / 2) : [0, 1];
        if (x1 - x0 < Math.abs(x0) * 1e-12 || !Number.isFinite(x1 - x0)) return;
        state.view = { x0, x1, y0, y1 };
        soon();
    }

    const numbersAt = (event) => {
        const back = (pixel, low, high, from, to) => from + ((pixel - low) / (high - low)) * (to - from);
        return [
            back(event.offsetX, margin.left, width() - margin.right, state.view.x0, state.view.x1),
            back(event.offsetY, height() - margin.bottom, margin.top, state.view.y0, state.view.y1),
        ];
    };

    canvas.addEventListener("wheel", (event) => {
        if (mode() === "places" || !state.view) return;
        event.preventDefault();
        zoom(event.deltaY > 0 ? 1.25 : 0.8, ...numbersAt(event));
    }, { passive: false });

    let held = null;
    canvas.addEventListener("pointerdown", (event) => { held = { x: event.offsetX, y: event.offsetY, moved: false }; });
    window.addEventListener("pointerup", () => { setTimeout(() => { held = null; }, 0); });
    canvas.addEventListener("pointermove", (event) => {
        if (held && mode() === "map" && state.view && (held.moved || Math.hypot(event.offsetX - held.x, event.offsetY - held.y) > 4)) {
            const dx = ((held.x - event.offsetX) / (width() - margin.left - margin.right)) * (state.view.x1 - state.view.x0);
            const dy = ((event.offsetY - held.y) / (height() - margin.top - margin.bottom)) * (state.view.y1 - state.view.y0);
            move(dx, state.grid.axes.length > 1 ? dy : 0);
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
        const hit = under(event);
        if (!hit) return;
        if (hit.stack?.length > 1) showStack(hit.stack);
        else if (hit.memory) show(hit.memory.id);
        else if (hit.cell.coord) { prefix = hit.cell.coord; page = ""; load().then(showSingle); }
        else {
            const [x0, y0, x1, y1] = regionOf(hit.cell), wide = (x1 - x0) * 3, high = (y1 - y0) * 3;
            state.view = { x0: x0 - wide, x1: x1 + wide, y0: state.grid.axes.length > 1 ? y0 - high : 0, y1: state.grid.axes.length > 1 ? y1 + high : 1 };
            soon();
        }
    });
    canvas.addEventListener("keydown", (event) => {
        if (!state.view || mode() === "places") return;
        const x = (state.view.x1 - state.view.x0) / 8, y = state.grid.axes.length > 1 ? (state.view.y1 - state.view.y0) / 8 : 0;
        const steps = { ArrowLeft: [-x, 0], ArrowRight: [x, 0], ArrowUp: [0, y], ArrowDown: [0, -y] };
        if (steps[event.key]) { move(...steps[event.key]); soon(); }
        else if (event.key === "+") zoom(0.7);
        else if (event.key === "-") zoom(1.4);
        else return;
        event.preventDefault();
    });

    // If there is no place below the memory, shows the memory itself.
    async function showSingle() {
        if (state.places.cells.length) return;
        const [x] = prefix.split(",");
        const all = prefix.split(",").map(Number);
        const answer = await ask("map", { axes: "0", box: `${x};${x}`, prefix, resolution: 1 });
        const memory = (answer.memories || []).find((candidate) => candidate.coordinate.length === all.length);
        if (memory) show(memory.id);
    }

    function under(event) {
        if (mode() === "places") {
            if (!state.places?.boxes) return null;
            const n = state.places.boxes.findIndex(([x, y, wide, high]) => event.offsetX >= x && event.offsetX < x + wide && event.offsetY >= y && event.offsetY < y + high);
            return n < 0 ? null : { cell: state.places.cells[n] };
        }
        if (!state.view || !state.grid) return null;
        const [x, y] = scales();
        if (state.grid.memories) {
            const distance = (memory) => Math.hypot(x(memory.coordinate[state.grid.axes[0]]) - event.offsetX, y(yOf(memory.coordinate)) - event.offsetY);
            const memory = state.grid.memories.reduce((best, candidate) => !best || distance(candidate) < distance(best) ? candidate : best, null);
            if (!memory || distance(memory) >= 14) return null;
            const apart = (other) => Math.hypot(x(memory.coordinate[state.grid.axes[0]]) - x(other.coordinate[state.grid.axes[0]]), y(yOf(memory.coordinate)) - y(yOf(other.coordinate)));
            return { memory, stack: state.grid.memories.filter((other) => apart(other) < 3) };
        }
        const [nx, ny] = numbersAt(event);
        const cell = state.grid.cells.find((candidate) => {
            const [x0, y0, x1, y1] = regionOf(candidate);
            return nx >= x0 && nx <= x1 && (state.grid.axes.length === 1 || (ny >= y0 && ny <= y1));
        });
        return cell ? { cell } : null;
    }

    function hint(event, hit) {
        tip.hidden = !hit;
        canvas.style.cursor = hit ? "pointer" : "default";
        if (!hit) return;
        tip.textContent = hit.stack?.length > 1 ? `${hit.stack.length} memories at this point; click to list them` : hit.memory
            ? `${hit.memory.coord}\n${hit.memory.text}`
            : `${hit.cell.coord ? hit.cell.coord + "\n" : ""}${hit.cell.count.toLocaleString("en")} ${hit.cell.count === 1 ? "memory" : "memories"}\nimportance: mean ${hit.cell.importance.toFixed(1)}, maximum ${hit.cell.max_importance.toFixed(1)}`;
        tip.style.left = `${Math.max(0, Math.min(event.offsetX + 14, width() - tip.offsetWidth))}px`;
        const below = event.offsetY + 14, above = event.offsetY - 8 - tip.offsetHeight;
        tip.style.top = `${below + tip.offsetHeight <= height() ? below : Math.max(0, above)}px`;
    }

    at("closer").onclick = () => zoom(0.6);
    at("farther").onclick = () => zoom(1.6);
    at("whole").onclick = () => { state.view = null; prefix = page = ""; load(); };
    at("across").onchange = at("up").onchange = () => { state.view = null; load(); };
    at("view").onchange = () => {
        for (const control of document.querySelectorAll("[data-only=map]")) control.hidden = mode() === "places";
        load();
    };
    new ResizeObserver(() => draw()).observe(canvas);
    new MutationObserver(() => draw()).observe(document.documentElement, { attributeFilter: ["class"] });

    const start = root.dataset.at.split(",").map(Number);
    if (root.dataset.at && start.every(Number.isFinite)) {
        if (start.length === 1) at("up").value = "";
        const around = (number) => [number - Math.max(1, Math.abs(number) * 0.05), number + Math.max(1, Math.abs(number) * 0.05)];
        const [x0, x1] = around(start[0]), [y0, y1] = start.length > 1 ? around(start[1]) : [0, 1];
        state.view = { x0, x1, y0, y1 };
        load().then(() => {
            const memory = (state.grid?.memories || []).find((candidate) => candidate.coord === root.dataset.at);
            if (memory) show(memory.id);
        });
    } else load();
}
