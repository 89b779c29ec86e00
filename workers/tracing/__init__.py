"""OpenTelemetry traces of a worker, where the standard OTEL_* variables ask for them."""
