"""How the pages write times: so that they sort, and nobody asks which number is the month."""
