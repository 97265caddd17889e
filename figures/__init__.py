"""Pictures: each module draws the table of the experiment it is named after."""
