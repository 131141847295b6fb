"use strict";
// Submits a form when a selection changes; without JavaScript there is a button.
document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) {
        const form = event.target.form;
        if (event.target.name === "tenant" && form.namespace) form.namespace.disabled = true;
        form.requestSubmit();
    }
});
