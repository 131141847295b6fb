// Draws the links around the memory of the page.
import { networkElement } from "./explorer_network.js";

const part = document.getElementById("network");
if (part) draw();

async function draw() {
    const response = await fetch(part.dataset.url, { headers: { Accept: "application/json" } });
    if (!response.ok || response.redirected) return;
    const { memory, network } = await response.json();
    const drawn = networkElement(network, (id) => { location.href = location.pathname.replace(memory.id, id); });
    drawn.querySelector("h2").remove(); // the page has its own
    part.replaceChildren(drawn);
}
