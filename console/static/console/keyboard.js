"use strict";
// Makes unfold's pages usable with a keyboard and a screen reader: its menus and switches are spans, and its dialogs do
// not take the focus.
(() => {
    const NAMES = {
        dock_to_right: "Show or hide the sidebar", close: "Close", more_horiz: "Actions", search: "Search", add: "Add",
        visibility: "Show or hide the password", hub: "Dashboard", arrow_back: "Back", undo: "Undo", delete: "Delete",
    };
    const NATIVE = "button, input, select, textarea, summary, a[href], [tabindex]";

    // Names the controls that show only an icon, and turns elements that only listen to clicks into buttons.
    function adapt(root) {
        for (const icon of root.querySelectorAll(".material-symbols-outlined")) icon.setAttribute("aria-hidden", "true");
        for (const element of root.querySelectorAll("a, button, label, .delete-template, [x-on\\:click]")) {
            const name = NAMES[element.textContent.trim()];
            if (name && !element.matches("label")) element.setAttribute("aria-label", element.title || name);
        }
        root.querySelector("[x-on\\:click*=openTheme]")?.setAttribute("aria-label", "Change the theme");
        for (const element of root.querySelectorAll("[x-on\\:click], .delete-template")) {
            if (element.matches(".material-symbols-outlined")) element.removeAttribute("aria-hidden");
            if (element.matches(NATIVE) || element.id === "changelist-filter-close") continue;
            element.tabIndex = 0;
            element.setAttribute("role", "button");
        }
    }

    document.addEventListener("keydown", (event) => {
        const pressed = event.key === "Enter" || event.key === " ";
        if (!pressed || !event.target.matches("[role=button]:not(button)")) return;
        event.preventDefault();
        event.target.click();
    });
    document.addEventListener("click", (event) => {
        if (event.target.closest("a[href='#']")) event.preventDefault(); // or the page would scroll to the top
    });
    window.addEventListener("load", () => setTimeout(() => { // after the scripts of Django's admin
        for (const icon of document.querySelectorAll(".search-label-icon")) icon.setAttribute("role", "img");
        for (const head of document.querySelectorAll(".formset th")) {
            if (!head.textContent.trim()) head.append(Object.assign(document.createElement("span"), { className: "console-unseen", textContent: "Delete" }));
        }
    }));
    document.addEventListener("htmx:afterSwap", (event) => adapt(event.target.parentElement));
    document.addEventListener("DOMContentLoaded", () => {
        adapt(document);
        const content = document.getElementById("modal-content");
        if (content) guard(content);
    });

    // Names the dialog, traps the focus in it, and then returns the focus to the button that opened the dialog.
    function guard(content) {
        const frame = content.parentElement;
        let opener = null, open = false;
        content.setAttribute("role", "dialog");
        content.setAttribute("aria-modal", "true");
        const stops = () => [...content.querySelectorAll("a[href], button, input, select, textarea, [tabindex='0']")]
            .filter((element) => !element.disabled && element.type !== "hidden" && element.checkVisibility());
        document.addEventListener("click", (event) => { opener = event.target.closest("[hx-get]") ?? opener; }, true);
        new MutationObserver(() => {
            const now = frame.checkVisibility();
            if (now === open) return;
            open = now;
            if (!open) return opener?.focus();
            content.setAttribute("aria-label", content.querySelector("h1")?.textContent.trim() ?? "Dialog");
            const all = stops(), field = all.find((element) => element.matches("input, select, textarea"));
            (field ?? all.find((element) => element.matches("form a")) ?? all[0])?.focus();
        }).observe(frame, { attributes: true, attributeFilter: ["style", "x-cloak"] });
        frame.addEventListener("keydown", (event) => {
            if (event.key !== "Tab") return;
            const all = stops(), at = all.indexOf(document.activeElement);
            const next = event.shiftKey ? (at <= 0 ? all.length - 1 : at - 1) : (at + 1) % all.length;
            event.preventDefault();
            all[next]?.focus();
        });
    }
})();
