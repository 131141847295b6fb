"use strict";
// Replaces htmx (51 kB), which unfold loads on every page: the console only opens dialogs and submits their forms.
// It reads the same attributes (hx-get, hx-post, hx-select, hx-target, hx-swap, hx-indicator), sends the same event to
// Alpine, and follows the header HX-Redirect.
(() => {
    document.addEventListener("click", (event) => {
        const link = event.target.closest?.("[hx-get]");
        if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        send(link, link.getAttribute("hx-get"), {});
    });
    document.addEventListener("submit", (event) => {
        const form = event.target.closest("form[hx-post]");
        if (!form) return;
        event.preventDefault();
        if (!form.hasAttribute("data-sent")) send(form, form.getAttribute("hx-post"), { method: "POST", body: new FormData(form) });
    });

    async function send(element, url, options) {
        const indicator = document.querySelector(element.getAttribute("hx-indicator"));
        element.setAttribute("data-sent", ""); // a second submission would change something twice
        indicator?.classList.add("htmx-request");
        try {
            const response = await fetch(url, { ...options, headers: { "HX-Request": "true" } });
            if (response.redirected) return location.reload(); // to the sign-in page
            if (response.headers.has("HX-Redirect")) return location.assign(response.headers.get("HX-Redirect"));
            swap(element, response.ok ? await response.text() : problem(response.status));
        } catch {
            swap(element, problem());
        } finally {
            element.removeAttribute("data-sent");
            indicator?.classList.remove("htmx-request");
        }
        element.dispatchEvent(new CustomEvent("htmx:after-on-load", { bubbles: true }));
    }

    function swap(element, html) {
        const target = document.querySelector(element.getAttribute("hx-target"));
        const selected = new DOMParser().parseFromString(html, "text/html").querySelector(element.getAttribute("hx-select"));
        if (element.getAttribute("hx-swap") === "outerHTML") target.replaceWith(selected);
        else target.replaceChildren(selected);
        selected.dispatchEvent(new CustomEvent("htmx:afterSwap", { bubbles: true }));
    }

    function problem(status) {
        const reasons = { 403: "You do not have permission to do that.", 404: "This no longer exists." };
        const reason = reasons[status] ?? (status ? `The server answered with status ${status}.` : "The server cannot be reached.");
        return `<div id="dialog"><div id="dialog-form"><p role="alert" class="mt-6">${reason} Reload the page and try again.</p></div></div>`;
    }
})();
