"""One module per page: each builds the Bokeh document of a browser session and keeps it up to date."""
