"use strict";
// The data of unfold's pages for Alpine's CSP build, which evaluates attributes with its own parser instead of
// `eval`. The parser has no global functions, no statements and no arrow functions, so this script, which runs before
// Alpine starts, registers the functions of app.js and replaces the three expressions that need more.
document.addEventListener("alpine:init", () => {
    const STORED = "sidebarDesktopOpen";

    Alpine.data("theme", window.theme);
    Alpine.data("searchForm", window.searchForm);
    Alpine.data("page", () => ({
        activeTab: "general",
        sidebarMobileOpen: false,
        sidebarDesktopOpen: localStorage.getItem(STORED) !== "0",
        init() {
            this.$watch(STORED, (open) => localStorage.setItem(STORED, open ? "1" : "0"));
        },
        formAction() {
            return window.location.pathname + window.location.search;
        },
    }));

    document.body.removeAttribute("x-init");
    document.body.setAttribute("x-data", "page()");
    replace("x-on:click", "localStorage", "sidebarDesktopOpen = !sidebarDesktopOpen");
    replace("x-bind:action", "window.location", "formAction()");

    function replace(attribute, part, expression) {
        for (const element of document.querySelectorAll(`[${CSS.escape(attribute)}*="${part}"]`)) {
            element.setAttribute(attribute, expression);
        }
    }
});
