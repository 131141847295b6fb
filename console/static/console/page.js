"use strict";
// Behaviour that every page shares: times in the reader's time zone, forms that submit themselves, and buttons that copy.

// Submits a form when a selection changes. Without JavaScript, users press the button.
document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-submit-on-change]")) return;
    const form = event.target.form;
    if (event.target.name === "tenant" && form.namespace) form.namespace.disabled = true;
    form.requestSubmit();
});

// Leaves empty fields, and fields with their default value, out of the page's URL.
document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-short-address]")) return;
    for (const field of event.target.elements) {
        if (field.value === (field.dataset.default ?? "")) field.disabled = true;
    }
});

document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    const text = button.dataset.copy === "address" ? location.href : source.value ?? source.textContent;
    try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
    } catch {
        source?.select?.();
        button.textContent = "Press Ctrl+C";
    }
});

// When the user returns to a page, enable the fields that were left out of the URL.
window.addEventListener("pageshow", () => {
    for (const field of document.querySelectorAll("form[data-short-address] :disabled")) field.disabled = false;
});

const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" });
const clock = new Intl.DateTimeFormat("sv-SE", { timeStyle: "short" });
function localize(root) {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
        time.textContent = ("clock" in time.dataset ? clock : local).format(new Date(time.dateTime));
        time.dataset.local = "";
    }
    // the minutes of charts, which are all in the last hour
    for (const title of root.querySelectorAll(".board-chart title")) {
        title.textContent = title.textContent.replace(/^(\d\d):(\d\d) UTC/, (_, hour, minute) => clock.format(new Date().setUTCHours(hour, minute)));
    }
}
document.addEventListener("htmx:afterSwap", (event) => localize(event.target));
document.addEventListener("DOMContentLoaded", () => {
    localize(document);
    // for screen readers: unfold's pages have no main landmark
    document.getElementById("main")?.setAttribute("role", "main");
    const navigation = document.getElementById("nav-sidebar-apps");
    navigation?.setAttribute("aria-label", "navigation");
    navigation?.querySelector("a.active")?.scrollIntoView({ block: "nearest" });
});

// Shows the value of a slider while it moves.
document.addEventListener("input", (event) => {
    const output = event.target.matches("[data-output]") && event.target.closest("label").querySelector("output");
    if (output) output.value = event.target.value;
});
