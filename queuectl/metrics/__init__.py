"""The figures of a queue as Prometheus reads them, with a dashboard and alert rules for them."""
