"use strict";
// A choice is taken at once; without a script there is the button.
document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) {
        const form = event.target.form;
        if (event.target.name === "tenant" && form.namespace) form.namespace.disabled = true;
        form.requestSubmit();
    }
});
