"use strict";
// Replaces unfold's own script (30 kB), most of which serves charts, calendars, tabs and uploads that the console does
// not have: the colour theme, the search field of lists, the filters, forms with unsaved changes, and rows of inlines.

function theme(initial = "auto") {
    return {
        openModal: false,
        filterOpen: false,
        openAllApplications: false,
        adminTheme: Alpine.$persist(initial).as("adminTheme"),
        init() {
            for (const layer of ["openModal", "filterOpen", "openAllApplications"]) {
                this.$watch(layer, (open) => document.body.classList.toggle("overflow-hidden", open));
            }
        },
        switchTheme(theme) {
            this.adminTheme = theme;
        },
        themeBindings: {
            "x-bind:class"() {
                const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
                return this.adminTheme === "auto" ? (dark ? "dark" : "") : this.adminTheme;
            },
        },
    };
}

function searchForm() {
    return {
        applyShortcut(event) {
            if (event.key !== "/" || document.activeElement.matches("input, textarea, select")) return;
            event.preventDefault();
            this.$refs.searchInput.focus();
        },
    };
}

window.addEventListener("load", () => {
    document.getElementById("filter-form")?.addEventListener("formdata", ({ formData }) => {
        for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    });
    const form = document.querySelector("form.warn-unsaved-form");
    let changed = false;
    form?.addEventListener("input", () => { changed = true; });
    form?.addEventListener("submit", () => { changed = false; });
    window.addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
});

// Adds a row to an inline, or removes one that has not been saved.
document.addEventListener("click", (event) => {
    const added = event.target.closest(".add-row"), removed = event.target.closest(".delete-template");
    if (!added && !removed) return;
    event.preventDefault();
    const formset = event.target.closest(".formset"), empty = formset.querySelector(":scope > .empty-form");
    if (removed) removed.closest(".form-group").remove();
    else {
        const row = empty.cloneNode(true);
        row.classList.remove("empty-form");
        empty.before(row);
        row.querySelector("input:not([type=hidden]), select, textarea")?.focus();
    }
    number(formset, JSON.parse(formset.dataset.inlineFormset).options.prefix);
});

function number(formset, prefix) {
    const rows = [...formset.querySelectorAll(":scope > .form-group:not(.empty-form)")];
    const count = new RegExp(`${prefix}-(\\d+|__prefix__)`);
    rows.forEach((row, index) => {
        row.classList.toggle("last", index === rows.length - 1);
        for (const element of row.querySelectorAll("[name], [id], [for], [list]")) {
            for (const name of ["name", "id", "for", "list"]) {
                if (element.hasAttribute(name)) element.setAttribute(name, element.getAttribute(name).replace(count, `${prefix}-${index}`));
            }
        }
    });
    formset.classList.toggle("empty", rows.length === 0);
    document.querySelector(`[name="${prefix}-TOTAL_FORMS"]`).value = rows.length;
}
