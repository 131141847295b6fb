// Replaces Alpine's plugin for drag and drop (38 kB), which unfold loads on every page: no list of the console is
// sorted by hand.
