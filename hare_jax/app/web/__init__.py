"""A web page on which a person answers: `pages` renders, `security` guards, `app` has the routes. Of the extra web."""
