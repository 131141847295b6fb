"use strict";
// Submits a form when a selection changes. Without JavaScript, users press the button.
document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) {
        const form = event.target.form;
        if (event.target.name === "tenant" && form.namespace) form.namespace.disabled = true;
        form.requestSubmit();
    }
});
