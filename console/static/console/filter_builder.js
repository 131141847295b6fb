// Builds the filters' JSON from rows of field, operator and value. The text area remains the only source of truth: rows
// are read from it and written to it. Filters that rows cannot show (OR, NOT) are edited as JSON.
import { element } from "./explorer_network.js";

const OPERATORS = { eq: "=", ne: "≠", gt: ">", gte: "≥", lt: "<", lte: "≤", in: "one of", nin: "none of", contains: "contains", icontains: "contains (ignoring case)", exists: "exists" };
const COMBINERS = ["AND", "OR", "NOT"];

for (const area of document.querySelectorAll("textarea[data-filters]")) build(area);

function build(area) {
    const rows = element("div", { className: "filter-rows" });
    const add = element("button", { type: "button", className: "console-button console-quiet", textContent: "Add a filter" });
    const write = () => {
        const filters = {};
        for (const row of rows.children) {
            const [field, operator, value] = row.querySelectorAll("input, select");
            if (field.value) (filters[field.value] ??= {})[operator.value] = parsed(value.value, operator.value);
        }
        area.value = Object.keys(filters).length ? JSON.stringify(filters) : "";
    };
    const append = (field = "", operator = "eq", value = "") => {
        const remove = element("button", { type: "button", className: "console-button console-quiet", textContent: "×", ariaLabel: "Remove this filter" });
        const choice = element("select", { ariaLabel: "Operator" }, ...Object.entries(OPERATORS).map(([name, text]) => new Option(text, name, false, name === operator)));
        const row = element("div", { className: "filter-row" },
            element("input", { type: "text", value: field, placeholder: "field, such as city", ariaLabel: "Field" }), choice,
            element("input", { type: "text", value, placeholder: "value", ariaLabel: "Value" }), remove);
        row.addEventListener("input", write);
        remove.addEventListener("click", () => { row.remove(); write(); });
        rows.append(row);
        return row;
    };
    const read = () => {
        const conditions = simple(area.value);
        add.hidden = conditions === null;
        rows.replaceChildren();
        for (const condition of conditions ?? []) append(...condition);
    };
    add.addEventListener("click", () => append().querySelector("input").focus());
    area.addEventListener("change", read);
    area.before(rows, add);
    read();
}

// Returns [field, operator, text] for each condition, or null if the filters are not a plain list of conditions.
function simple(text) {
    if (!text.trim()) return [];
    let filters;
    try { filters = JSON.parse(text); } catch { return null; }
    if (typeof filters !== "object" || filters === null || Object.keys(filters).some((name) => COMBINERS.includes(name))) return null;
    return Object.entries(filters).flatMap(([field, value]) => {
        const operators = typeof value === "object" && value !== null && !Array.isArray(value) ? value : { eq: value };
        return Object.entries(operators).map(([operator, operand]) => [field, operator, shown(operand)]);
    });
}

function shown(operand) {
    if (Array.isArray(operand)) return operand.map(shown).join(", ");
    return typeof operand === "string" && parsed(operand, "eq") === operand ? operand : JSON.stringify(operand);
}

function parsed(text, operator) {
    if (operator === "in" || operator === "nin") return text.split(",").map((part) => parsed(part.trim(), "eq"));
    if (operator === "exists") return text.trim() !== "false";
    if (/^(true|false|null|-?\d+(\.\d+)?|".*")$/.test(text.trim())) { try { return JSON.parse(text); } catch { return text; } }
    return text;
}
