"use strict";
// The data of unfold's pages for Alpine's CSP build, which evaluates attributes with a parser of its own instead of
// `eval`. The parser has no global functions, no statements and no arrow functions, so this script, which runs before
// Alpine starts, registers unfold's functions and replaces the four expressions that need more.
document.addEventListener("alpine:init", () => {
    const STORED = "sidebarDesktopOpen";
    const tab = (document.body.getAttribute("x-data") || "").match(/activeTab: '([^']*)'/);

    Alpine.data("theme", window.theme);
    Alpine.data("searchForm", window.searchForm);
    Alpine.data("searchDropdown", window.searchDropdown);
    Alpine.data("searchCommand", () => ({
        ...window.searchCommand(),
        chooseItem(event) {
            if (!event.metaKey && !event.ctrlKey) this.selectItem(false, false);
        },
    }));
    Alpine.data("page", () => ({
        activeTab: (tab && (window.getCurrentTab() || tab[1])) || "",
        sidebarMobileOpen: false,
        sidebarDesktopOpen: localStorage.getItem(STORED) !== "0",
        init() {
            this.$watch(STORED, (open) => localStorage.setItem(STORED, open ? "1" : "0"));
        },
        formAction() {
            const fragment = this.activeTab && this.activeTab !== "general" ? `#${this.activeTab}` : "";
            return window.location.pathname + window.location.search + fragment;
        },
    }));

    document.body.removeAttribute("x-init");
    document.body.setAttribute("x-data", "page()");
    replace("x-on:click", "localStorage", "sidebarDesktopOpen = !sidebarDesktopOpen");
    replace("x-bind:action", "window.location", "formAction()");
    replace("x-on:keydown.enter.prevent", "$event.metaKey", "chooseItem($event)");

    function replace(attribute, part, expression) {
        for (const element of document.querySelectorAll(`[${CSS.escape(attribute)}*="${part}"]`)) {
            element.setAttribute(attribute, expression);
        }
    }
});
