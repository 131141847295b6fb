// Draws the links around the page's memory, and lists the memory's neighbours in the vector space.
import { element, networkElement } from "./explorer_network.js";

const links = document.getElementById("network"), neighbours = document.getElementById("neighbours");
if (links) drawLinks();
listNeighbours();

async function drawLinks() {
    const response = await requested(links);
    if (!response.ok || response.redirected) return;
    const { memory, network } = await response.json();
    const drawn = networkElement(network, (id) => { location.href = location.pathname.replace(memory.id, id); });
    drawn.querySelector("h2").remove(); // the page has its own
    links.replaceChildren(drawn);
}

async function listNeighbours() {
    const say = (text) => neighbours.replaceChildren(element("p", { className: "console-note", textContent: text }));
    try {
        const response = await requested(neighbours);
        if (response.redirected) return say("Your session has ended. Reload the page to sign in again.");
        const answer = await response.json();
        if (!response.ok) return say(`Not available: ${answer.detail}`);
        if (!answer.neighbours) return say("This memory has no vector yet, so it cannot be compared.");
        if (!answer.neighbours.length) return say("No other memory in this namespace is similar.");
        neighbours.replaceChildren(element("ol", { className: "memory-neighbours" }, ...answer.neighbours.map(neighbourElement)));
    } catch {
        say("The server is not responding. Reload the page to try again.");
    } finally {
        neighbours.dataset.ready = "true";
    }
}

function neighbourElement({ coord, text, similarity, link }) {
    const meter = element("meter", { min: 0, max: 1, value: similarity });
    meter.setAttribute("aria-label", `Similarity to ${coord}`);
    return element("li", {},
        element("p", {}, element("a", { href: link, className: "console-coord", textContent: coord }), meter, element("b", { textContent: similarity.toFixed(2) })),
        element("p", { textContent: text || "no text" }));
}

function requested(part) {
    return fetch(part.dataset.url, { headers: { Accept: "application/json" } });
}
