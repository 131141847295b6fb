// Replaces Alpine's plugin for floating menus (16 kB), which unfold loads on every page: the console has none.
