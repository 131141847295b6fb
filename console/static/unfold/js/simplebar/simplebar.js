// Replaces SimpleBar (27 kB), which draws scroll bars: the browser's own scroll bars are enough. unfold asks for its
// instances.
const SimpleBar = { instances: new Map() };
