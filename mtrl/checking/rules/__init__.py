"""One rule a file, named after its id. `mtrl.checking.inventory` lists them in the order of the table."""
