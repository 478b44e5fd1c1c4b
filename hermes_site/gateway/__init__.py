"""The gateway as one thing: web server and workers under a supervisor that keeps both going."""
