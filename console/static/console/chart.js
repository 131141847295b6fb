// Geometry for charts: scales, ticks, a treemap and a network layout.

export function scale(from, to, low, high) {
    return (value) => to === from ? (low + high) / 2 : low + ((value - from) / (to - from)) * (high - low);
}

// Returns at most `most` round numbers between two values.
export function ticks(low, high, most) {
    const span = high - low;
    if (!(span > 0) || !Number.isFinite(span)) return [low];
    const rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const values = [];
    for (let at = Math.ceil(low / step) * step; at <= high && values.length < 50; at += step) {
        values.push(Math.abs(at) < step / 1e6 ? 0 : at);
    }
    return values;
}

export function short(number) {
    const size = Math.abs(number);
    if (size && (size >= 1e6 || size < 1e-3)) return number.toExponential(1);
    return String(Number(number.toPrecision(5)));
}

// Returns rectangles whose areas are proportional to the values (Bruls, Huizing and van Wijk: Squarified Treemaps, 2000).
export function treemap(values, width, height) {
    const total = values.reduce((sum, value) => sum + value, 0) || 1;
    const areas = values.map((value) => (value / total) * width * height);
    const boxes = new Array(values.length);
    const order = areas.map((_, at) => at).sort((a, b) => areas[b] - areas[a]);
    let left = 0, top = 0, right = width, bottom = height, row = [], sum = 0;
    const worst = (items, all, side) => Math.max(...items.map((at) => {
        const other = areas[at] / (all / side);
        return Math.max((all / side) / other, other / (all / side));
    }));
    const lay = () => {
        const wide = right - left >= bottom - top, side = wide ? bottom - top : right - left, deep = sum / side;
        let along = wide ? top : left;
        for (const at of row) {
            const long = areas[at] / deep;
            boxes[at] = wide ? [left, along, deep, long] : [along, top, long, deep];
            along += long;
        }
        if (wide) left += deep; else top += deep;
        row = []; sum = 0;
    };
    for (const at of order) {
        const side = Math.min(right - left, bottom - top);
        if (row.length && worst([...row, at], sum + areas[at], side) > worst(row, sum, side)) lay();
        row.push(at); sum += areas[at];
    }
    if (row.length) lay();
    return boxes;
}

// Returns the positions of a network's nodes by a force-directed layout. Deterministic.
export function layout(nodes, links, width, height) {
    const index = new Map(nodes.map((node, at) => [node.coord, at]));
    const pairs = links.map((link) => [index.get(link.from), index.get(link.to)]).filter(([a, b]) => a !== undefined && b !== undefined);
    const middle = [width / 2, height / 2], ideal = Math.sqrt((width * height) / nodes.length) * 0.7;
    const at = nodes.map((node, n) => {
        const angle = n * 2.399963, far = node.hops ? (node.hops * Math.min(width, height)) / 5 : 0;
        return [middle[0] + Math.cos(angle) * far, middle[1] + Math.sin(angle) * far];
    });
    for (let round = 0; round < 120; round++) {
        const push = at.map(() => [0, 0]), heat = (1 - round / 120) * 18;
        for (let a = 0; a < at.length; a++) for (let b = a + 1; b < at.length; b++) {
            const dx = at[a][0] - at[b][0] || 0.01, dy = at[a][1] - at[b][1] || 0.01;
            const force = (ideal * ideal) / (dx * dx + dy * dy);
            push[a][0] += dx * force; push[a][1] += dy * force;
            push[b][0] -= dx * force; push[b][1] -= dy * force;
        }
        for (const [a, b] of pairs) {
            const dx = at[a][0] - at[b][0], dy = at[a][1] - at[b][1], pull = Math.hypot(dx, dy) / ideal;
            push[a][0] -= dx * pull; push[a][1] -= dy * pull;
            push[b][0] += dx * pull; push[b][1] += dy * pull;
        }
        at.forEach((place, n) => {
            if (n === 0) { place[0] = middle[0]; place[1] = middle[1]; return; } // the centre memory is fixed
            const far = Math.hypot(...push[n]) || 1, step = Math.min(far, heat) / far;
            place[0] = Math.min(width - 14, Math.max(14, place[0] + push[n][0] * step));
            place[1] = Math.min(height - 14, Math.max(14, place[1] + push[n][1] * step));
        });
    }
    return at;
}

// Returns a cell size such that at most `most` + 1 cells cover a length. Sizes of 1 and more are whole numbers, and
// smaller sizes divide 1. Otherwise, cells would contain different numbers of whole coordinates, and a map
// of whole coordinates would show stripes.
export function cellSize(length, most) {
    const rough = length / most;
    if (!(rough > 0) || !Number.isFinite(rough)) return null;
    const power = 10 ** Math.floor(Math.log10(rough));
    if (rough <= 1) return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * (1 - 1e-9));
    const unit = Math.max(1, power / 10);
    return Math.ceil(rough / unit) * unit;
}
