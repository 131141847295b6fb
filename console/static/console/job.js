// Polls the progress of a job: every second while it changes, and less often while it does not.
const part = document.getElementById("job");
const SHORTEST_MS = 1000, LONGEST_MS = 15000;
const STATES = { failed: "console-bad", done: "console-good" };
let waitMs = SHORTEST_MS, last = "", timer = 0;

if (!("over" in part.dataset)) {
    plan();
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { waitMs = SHORTEST_MS; plan(); } });
}

function plan() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(follow, waitMs);
}

async function follow() {
    let response;
    try {
        response = await fetch(part.dataset.url, { headers: { Accept: "application/json" }, redirect: "error" });
        if (!response.ok) throw new Error(response.status);
        show(await response.json());
    } catch {
        if (response && response.status < 500) return say("The progress is no longer available. Reload the page.");
        if (!response && await signedOut()) return say("Your session has ended. Reload the page to sign in again.");
        say("The server is not responding. Retrying.");
        waitMs = Math.min(LONGEST_MS, waitMs * 2);
        plan();
    }
}

function show(progress) {
    if (progress.is_over) return location.reload(); // shows the result and removes the button to cancel
    for (const element of part.querySelectorAll("[data-show]")) {
        const text = progress[element.dataset.show] ?? "";
        if (element.textContent !== text) element.textContent = text;
        if (element.dataset.show === "error") element.hidden = !text;
    }
    const bar = part.querySelector("progress");
    if (progress.percent === null) bar.removeAttribute("value"); else bar.value = progress.percent;
    part.querySelector("[data-show=state]").className = `console-state ${STATES[progress.state] ?? "console-pending"}`;
    say("");
    const now = JSON.stringify([progress.state, progress.count, progress.phase, progress.error]);
    waitMs = now === last ? Math.min(LONGEST_MS, waitMs * 1.5) : SHORTEST_MS;
    last = now;
    plan();
}

// After the session has ended, the server redirects to the sign-in page.
async function signedOut() {
    try {
        return (await fetch(part.dataset.url, { redirect: "manual" })).type === "opaqueredirect";
    } catch {
        return false;
    }
}

function say(text) {
    document.getElementById("follow").textContent = text;
}
