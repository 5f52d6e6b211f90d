"""The page: a Flask application with Socket.IO over a running master."""
