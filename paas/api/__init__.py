"""The HTTP API: a Flask factory, one blueprint per noun, one place for access, one for errors."""
