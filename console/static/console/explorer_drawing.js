// Draws the explorer's map of two axes, and its places, on the canvas.
import { scale, short, ticks, treemap } from "./chart.js";

export const margin = { left: 56, right: 12, top: 10, bottom: 30 };

const mixed = (from, to, share) => from.map((value, n) => value + (to[n] - value) * share);
const toned = (importance) => mixed([0, 114, 178], [230, 120, 0], Math.min(1, importance / 10));
const rgb = (values) => `rgb(${values.map(Math.round).join(" ")})`;

// `state` is the explorer's: view, grid, places, marked, chosen and links; `mode` returns "map" or "places".
export function createDrawing(root, canvas, state, mode) {
    const width = () => canvas.clientWidth, height = () => canvas.clientHeight;
    const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
    const scales = () => [scale(state.view.x0, state.view.x1, margin.left, width() - margin.right), scale(state.view.y0, state.view.y1, height() - margin.bottom, margin.top)];

    const isDark = () => document.documentElement.classList.contains("dark");
    let frame = 0, prepared = null;

    // Draws once per frame, no matter how many events request it.
    function draw() {
        frame ||= requestAnimationFrame(() => { frame = 0; paint(); });
    }

    // From blue to orange, by importance: people with a colour vision deficiency can tell these colours apart. The
    // background shows through where there are few memories.
    function colour(count, most, importance) {
        const dark = isDark();
        const share = most > 1 ? Math.log(count) / Math.log(most) : 1, back = dark ? [24, 32, 44] : [255, 255, 255];
        return rgb(mixed(back, toned(importance), 0.3 + 0.7 * share));
    }

    function paint() {
        const ratio = window.devicePixelRatio || 1, wide = Math.round(width() * ratio), high = Math.round(height() * ratio);
        if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
        const pen = canvas.getContext("2d");
        pen.setTransform(ratio, 0, 0, ratio, 0, 0);
        pen.clearRect(0, 0, width(), height());
        pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
        if (mode() === "places") return drawPlaces(pen);
        if (!state.view || !state.grid) return;
        drawAxes(pen);
        pen.save();
        pen.beginPath();
        pen.rect(margin.left, margin.top, width() - margin.left - margin.right, height() - margin.top - margin.bottom);
        pen.clip();
        if (state.grid.memories) drawSingle(pen); else drawCells(pen);
        drawLinks(pen);
        drawMarked(pen);
        pen.restore();
    }

    function drawAxes(pen) {
        const [x, y] = scales();
        pen.strokeStyle = style("--line");
        pen.fillStyle = style("--faint");
        pen.textAlign = "center";
        for (const value of ticks(state.view.x0, state.view.x1, 8)) {
            line(pen, x(value), margin.top, x(value), height() - margin.bottom);
            pen.fillText(short(value), x(value), height() - 10);
        }
        pen.textAlign = "right";
        if (state.grid.axes.length < 2) return;
        for (const value of ticks(state.view.y0, state.view.y1, 8)) {
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

    // Returns the region of a cell, [x0, y0, x1, y1], in units of the axes.
    function regionOf(cell) {
        const edge = (axis, index) => state.grid.low[axis] * (1 - index / state.grid.resolution) + state.grid.high[axis] * (index / state.grid.resolution);
        if (state.grid.axes.length === 1) return [edge(0, cell.column), 0, edge(0, cell.column + 1), 1];
        return [edge(0, cell.column), edge(1, cell.row), edge(0, cell.column + 1), edge(1, cell.row + 1)];
    }

    // The regions and colours of all cells, which do not change while the map moves.
    function preparedCells() {
        const grid = state.grid, dark = isDark();
        if (prepared?.grid !== grid || prepared.dark !== dark) {
            const most = grid.cells.reduce((largest, cell) => Math.max(largest, cell.count), 1);
            const cells = grid.cells.map((cell) => [...regionOf(cell), colour(cell.count, most, cell.importance), cell]);
            prepared = { grid, dark, most, cells };
        }
        return prepared;
    }

    function drawCells(pen) {
        const [x, y] = scales(), { cells, most } = preparedCells();
        for (const [x0, y0, x1, y1, fill, cell] of cells) {
            if (x1 < state.view.x0 || x0 > state.view.x1) continue;
            pen.fillStyle = fill;
            if (state.grid.axes.length === 1) {
                const share = most > 1 ? 0.05 + 0.9 * Math.log(cell.count) / Math.log(most) : 1;
                const top = height() - margin.bottom - share * (height() - margin.top - margin.bottom);
                pen.fillRect(x(x0), top, Math.max(1.5, x(x1) - x(x0) - 1), height() - margin.bottom - top);
            } else {
                pen.fillRect(x(x0), y(y1), Math.max(2, x(x1) - x(x0) - 1), Math.max(2, y(y0) - y(y1) - 1));
            }
        }
    }

    const yOf = (coordinate) => state.grid.axes.length === 1 ? 0.5 : coordinate[state.grid.axes[1]];

    function drawSingle(pen) {
        const [x, y] = scales(), few = state.grid.memories.length <= 40;
        for (const memory of state.grid.memories) {
            const px = x(memory.coordinate[state.grid.axes[0]]), py = y(yOf(memory.coordinate));
            dot(pen, px, py, 4 + memory.importance * 0.6, rgb(toned(memory.importance)), memory.id === state.chosen);
            if (few) {
                pen.fillStyle = style("--strong");
                pen.textAlign = "left";
                pen.fillText(memory.text.length > 32 ? memory.text.slice(0, 31) + "…" : memory.text, px + 10, py + 4);
            }
        }
    }

    // Draws the links of the chosen memory.
    function drawLinks(pen) {
        const [x, y] = scales(), far = Math.max(...state.grid.axes);
        pen.strokeStyle = style("--accent");
        for (const link of state.links) {
            const [from, to] = [link.from, link.to].map((coord) => coord.split(",").map(Number));
            if (from.length > far && to.length > far) line(pen, x(from[state.grid.axes[0]]), y(yOf(from)), x(to[state.grid.axes[0]]), y(yOf(to)));
        }
    }

    function drawMarked(pen) {
        const [x, y] = scales();
        pen.strokeStyle = "#d97706";
        pen.lineWidth = 2.5;
        for (const memory of state.marked) {
            if (memory.coordinate.length <= Math.max(...state.grid.axes)) continue;
            pen.beginPath();
            pen.arc(x(memory.coordinate[state.grid.axes[0]]), y(yOf(memory.coordinate)), 8, 0, 7);
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
        if (!state.places) return;
        const most = Math.max(1, ...state.places.cells.map((cell) => cell.count));
        state.places.boxes = treemap(state.places.cells.map((cell) => cell.count), width(), height());
        pen.textAlign = "left";
        state.places.cells.forEach((cell, index) => {
            const [x, y, wide, high] = state.places.boxes[index];
            pen.fillStyle = colour(cell.count, most, cell.importance);
            pen.fillRect(x, y, Math.max(1, wide - 2), Math.max(1, high - 2));
            if (wide < 46 || high < 20) return;
            pen.fillStyle = isDark() || most === 1 || Math.log(cell.count) / Math.log(most) > 0.45 ? "#fff" : "#123";
            pen.save();
            pen.beginPath(); pen.rect(x, y, wide - 4, high - 2); pen.clip();
            pen.fillText(short(cell.coordinate.at(-1)), x + 6, y + 15);
            if (high > 36) pen.fillText(cell.count.toLocaleString("en"), x + 6, y + 31);
            pen.restore();
        });
    }

    return { draw, height, regionOf, scales, width, yOf };
}
