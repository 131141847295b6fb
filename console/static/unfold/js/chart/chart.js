// Replaces Chart.js (200 kB), which unfold loads on every page: the console draws its charts as SVG on the server.
